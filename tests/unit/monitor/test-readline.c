/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line editor: what a key sequence makes of the line. */
#include "util/osdep.h"
#include "monitor/readline.h"

typedef struct {
    Readline *rl;
    GString *lines, *echo;
} Term;

static void term_write(void *opaque, const char *text)
{
    g_string_append(((Term *)opaque)->echo, text);
}

static void term_line(void *opaque, const char *line)
{
    Term *t = opaque;

    g_string_append_printf(t->lines, "%s|", line);
    readline_start(t->rl);
}

static GPtrArray *term_complete(void *opaque, const char *prefix)
{
    static const char *const words[] = {"migrate", "migrate_cancel", "stop"};
    GPtrArray *found = g_ptr_array_new_with_free_func(g_free);

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        if (g_str_has_prefix(words[i], prefix)) {
            g_ptr_array_add(found, g_strdup(words[i]));
        }
    }
    return found;
}

static void term_init(Term *t)
{
    ReadlineOps ops = {term_write, term_line, term_complete, t};

    t->lines = g_string_new(NULL);
    t->echo = g_string_new(NULL);
    t->rl = readline_new(&ops, "> ");
    readline_start(t->rl);
}

static void term_type(Term *t, const char *keys, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        readline_feed(t->rl, (uint8_t)keys[i]);
    }
}

static void term_free(Term *t)
{
    readline_free(t->rl);
    g_string_free(t->lines, TRUE);
    g_string_free(t->echo, TRUE);
}

#define UP    "\033[A"
#define DOWN  "\033[B"
#define RIGHT "\033[C"
#define LEFT  "\033[D"

static const struct {
    const char *keys, *lines;
} cases[] = {
    {"stop\r", "stop|"},
    {"a\r\nb\nc\r", "a|b|c|"},
    {"\r\r", "||"},
    {"abc\x7f\x08z\r", "az|"},
    {"ac" LEFT "b" RIGHT "d\r", "abcd|"},
    {"bc\001a\005d\r", "abcd|"},
    {"bc\033[Ha\033[Fd\r", "abcd|"},
    {"bc\033[1~a\033[4~d\r", "abcd|"},
    {"abXc\002\002\004\r", "abc|"},
    {"abXc" LEFT LEFT "\033[3~\r", "abc|"},
    {"one two\027three\r", "one three|"},
    {"abc\002\013\r", "ab|"},
    {"abc\002\025\r", "c|"},
    {"abc\003def\r", "def|"},
    {"one\rtwo\r" UP UP "\r", "one|two|one|"},
    {"one\rtwo\r" UP UP DOWN "\r", "one|two|two|"},
    {"one\rdraft" UP DOWN "\r", "one|draft|"},
    {"one\rone\rtwo\r" UP UP "x\r", "one|one|two|onex|"},
    {UP DOWN "\x7f\r", "|"},
    {"sto\t1\r", "stop 1|"},
    {"mi\t\r", "migrate|"},
    {"x\t\r", "x|"},
    {"\033[99;5~\033OA\033xz\r", "z|"},
};

static void test_keys(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        Term t;

        term_init(&t);
        term_type(&t, cases[i].keys, strlen(cases[i].keys));
        g_assert_cmpstr(t.lines->str, ==, cases[i].lines);
        term_free(&t);
    }
}

static void test_echo(void)
{
    Term t;

    term_init(&t);
    term_type(&t, "ab" LEFT, 5);
    g_assert_cmpstr(t.echo->str, ==, "> ab\r> ab\033[K\033[1D");
    g_string_truncate(t.echo, 0);
    term_type(&t,
              "\025\x0b"
              "migrate\t",
              10);
    g_assert_nonnull(strstr(t.echo->str, "migrate  migrate_cancel\r\n"));
    term_free(&t);
}

/* Any keys: no crash, bounded memory, and Ctrl-C always gives a fresh line. */
static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(71);
    Term t;

    term_init(&t);
    for (unsigned i = 0; i < 200000; i++) {
        readline_feed(t.rl, (uint8_t)g_rand_int(rand));
        g_string_truncate(t.echo, 0);
    }
    g_string_truncate(t.lines, 0);
    term_type(&t, "~~\003fresh\r", 9);
    g_assert_true(g_str_has_suffix(t.lines->str, "fresh|"));
    g_string_truncate(t.lines, 0);
    for (unsigned i = 0; i < 6000; i++) {
        readline_feed(t.rl, 'x');
        g_string_truncate(t.echo, 0);
    }
    term_type(&t, "\r", 1);
    g_assert_cmpuint(t.lines->len, ==, 4097);
    term_free(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/readline/keys", test_keys);
    g_test_add_func("/monitor/readline/echo", test_echo);
    g_test_add_func("/monitor/readline/noise", test_noise);
    return g_test_run();
}
