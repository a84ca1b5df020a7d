/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The line editor: emacs keys, arrows, history, completion of the first word. After each change the
 * line is redrawn from its start, which needs nothing of the terminal but CR and two escape
 * sequences.
 */
#include "util/osdep.h"
#include "monitor/readline.h"

#define LINE_MAX_LEN 4096
#define HISTORY_MAX  100
#define CTRL(c)      ((c)&0x1f)

/* Keys that arrive as escape sequences get numbers beyond a byte. */
enum { KEY_UP = 256, KEY_DOWN, KEY_RIGHT, KEY_LEFT, KEY_HOME, KEY_END, KEY_DELETE, KEY_NONE };

struct Readline {
    ReadlineOps ops;
    char *prompt;
    GString *line;
    size_t cursor;
    GPtrArray *history; /* oldest first */
    unsigned at;        /* history entry shown; history->len: the line being written */
    char *unfinished;   /* that line, while older ones are shown */
    enum { KEYS_PLAIN, KEYS_ESC, KEYS_CSI } keys;
    unsigned csi_number;
    bool after_cr;
};

Readline *readline_new(const ReadlineOps *ops, const char *prompt)
{
    Readline *rl = g_new0(Readline, 1);

    rl->ops = *ops;
    rl->prompt = g_strdup(prompt);
    rl->line = g_string_new(NULL);
    rl->history = g_ptr_array_new_with_free_func(g_free);
    return rl;
}

void readline_free(Readline *rl)
{
    if (rl) {
        g_free(rl->prompt);
        g_free(rl->unfinished);
        g_string_free(rl->line, TRUE);
        g_ptr_array_unref(rl->history);
        g_free(rl);
    }
}

static void redraw(Readline *rl)
{
    g_autoptr(GString) out = g_string_new(NULL);
    size_t behind = rl->line->len - rl->cursor;

    g_string_printf(out, "\r%s%s\033[K", rl->prompt, rl->line->str);
    if (behind) {
        g_string_append_printf(out, "\033[%zuD", behind);
    }
    rl->ops.write(rl->ops.opaque, out->str);
}

void readline_start(Readline *rl)
{
    g_string_truncate(rl->line, 0);
    g_clear_pointer(&rl->unfinished, g_free);
    rl->cursor = 0;
    rl->at = rl->history->len;
    rl->keys = KEYS_PLAIN;
    rl->ops.write(rl->ops.opaque, rl->prompt);
}

static void set_line(Readline *rl, const char *text)
{
    g_string_assign(rl->line, text);
    rl->cursor = rl->line->len;
}

static void history_add(Readline *rl, const char *line)
{
    unsigned n = rl->history->len;

    if (!*line || (n && strcmp(rl->history->pdata[n - 1], line) == 0)) {
        return;
    }
    if (n == HISTORY_MAX) {
        g_ptr_array_remove_index(rl->history, 0);
    }
    g_ptr_array_add(rl->history, g_strdup(line));
}

static void history_move(Readline *rl, int step)
{
    unsigned n = rl->history->len;

    if (step < 0 ? rl->at == 0 : rl->at == n) {
        return;
    }
    if (rl->at == n) {
        g_free(rl->unfinished);
        rl->unfinished = g_strdup(rl->line->str);
    }
    rl->at += step;
    set_line(rl, rl->at == n ? (rl->unfinished ? rl->unfinished : "")
                             : (const char *)rl->history->pdata[rl->at]);
}

static void accept_line(Readline *rl)
{
    g_autofree char *line = g_strdup(rl->line->str);

    rl->ops.write(rl->ops.opaque, "\r\n");
    history_add(rl, line);
    g_string_truncate(rl->line, 0);
    rl->cursor = 0;
    rl->ops.line(rl->ops.opaque, line);
}

static void erase(Readline *rl, size_t from, size_t to)
{
    g_string_erase(rl->line, from, to - from);
    rl->cursor = from;
}

static void erase_word(Readline *rl)
{
    size_t from = rl->cursor;

    while (from && rl->line->str[from - 1] == ' ') {
        from--;
    }
    while (from && rl->line->str[from - 1] != ' ') {
        from--;
    }
    erase(rl, from, rl->cursor);
}

static size_t common_prefix(GPtrArray *words)
{
    const char *first = words->pdata[0];
    size_t len = strlen(first);

    for (unsigned i = 1; i < words->len; i++) {
        size_t same = 0;

        while (same < len && first[same] == ((const char *)words->pdata[i])[same]) {
            same++;
        }
        len = same;
    }
    return len;
}

static void complete(Readline *rl)
{
    if (!rl->ops.complete || rl->cursor != rl->line->len || strchr(rl->line->str, ' ')) {
        return;
    }
    g_autoptr(GPtrArray) words = rl->ops.complete(rl->ops.opaque, rl->line->str);

    if (words->len == 0) {
        return;
    }
    size_t len = common_prefix(words);

    if (words->len > 1 && len == rl->line->len) {
        g_autoptr(GString) list = g_string_new("\r\n");

        for (unsigned i = 0; i < words->len; i++) {
            g_string_append_printf(list, "%s%s", i ? "  " : "", (const char *)words->pdata[i]);
        }
        g_string_append(list, "\r\n");
        rl->ops.write(rl->ops.opaque, list->str);
        return;
    }
    g_autofree char *longest = g_strndup(words->pdata[0], len);

    set_line(rl, longest);
    if (words->len == 1) {
        g_string_append_c(rl->line, ' ');
        rl->cursor++;
    }
}

static void handle_key(Readline *rl, int key)
{
    size_t end = rl->line->len;

    switch (key) {
    case '\r':
    case '\n':
        accept_line(rl);
        return;
    case CTRL('c'):
        rl->ops.write(rl->ops.opaque, "^C\r\n");
        readline_start(rl);
        return;
    case CTRL('a'):
    case KEY_HOME:
        rl->cursor = 0;
        break;
    case CTRL('e'):
    case KEY_END:
        rl->cursor = end;
        break;
    case CTRL('b'):
    case KEY_LEFT:
        rl->cursor -= rl->cursor > 0;
        break;
    case CTRL('f'):
    case KEY_RIGHT:
        rl->cursor += rl->cursor < end;
        break;
    case CTRL('p'):
    case KEY_UP:
        history_move(rl, -1);
        break;
    case CTRL('n'):
    case KEY_DOWN:
        history_move(rl, 1);
        break;
    case CTRL('d'):
    case KEY_DELETE:
        erase(rl, rl->cursor, MIN(rl->cursor + 1, end));
        break;
    case CTRL('h'):
    case 0x7f:
        erase(rl, rl->cursor - (rl->cursor > 0), rl->cursor);
        break;
    case CTRL('k'):
        erase(rl, rl->cursor, end);
        break;
    case CTRL('u'):
        erase(rl, 0, rl->cursor);
        break;
    case CTRL('w'):
        erase_word(rl);
        break;
    case CTRL('l'):
        rl->ops.write(rl->ops.opaque, "\033[2J\033[H");
        break;
    case '\t':
        complete(rl);
        break;
    default:
        if (key < 0x20 || key > 0xff || end >= LINE_MAX_LEN) {
            return;
        }
        g_string_insert_c(rl->line, (gssize)rl->cursor++, (char)key);
        if (rl->cursor == rl->line->len) { /* the common case: plain typing */
            rl->ops.write(rl->ops.opaque, rl->line->str + rl->cursor - 1);
            return;
        }
    }
    redraw(rl);
}

static int csi_key(uint8_t final, unsigned number)
{
    static const char letters[] = "ABCDHF";
    static const int keys[] = {KEY_UP, KEY_DOWN, KEY_RIGHT, KEY_LEFT, KEY_HOME, KEY_END};
    const char *known = final ? strchr(letters, final) : NULL;

    if (known) {
        return keys[known - letters];
    }
    if (final != '~') {
        return KEY_NONE;
    }
    return number == 1 || number == 7   ? KEY_HOME
           : number == 4 || number == 8 ? KEY_END
           : number == 3                ? KEY_DELETE
                                        : KEY_NONE;
}

void readline_feed(Readline *rl, uint8_t key)
{
    bool lf_of_crlf = rl->after_cr && key == '\n';

    rl->after_cr = key == '\r';
    if (lf_of_crlf) {
        return;
    }
    switch (rl->keys) {
    case KEYS_ESC:
        rl->keys = key == '[' || key == 'O' ? KEYS_CSI : KEYS_PLAIN;
        rl->csi_number = 0;
        break;
    case KEYS_CSI:
        if (g_ascii_isdigit(key)) {
            rl->csi_number = (rl->csi_number * 10 + key - '0') % 1000;
        } else if (key != ';') {
            rl->keys = KEYS_PLAIN;
            handle_key(rl, csi_key(key, rl->csi_number));
        }
        break;
    case KEYS_PLAIN:
        if (key == 0x1b) {
            rl->keys = KEYS_ESC;
        } else {
            handle_key(rl, key);
        }
        break;
    }
}
