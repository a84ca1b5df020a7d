/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <sys/stat.h>
#include <glib/gstdio.h>
#include "memory/memory-backend.h"
#include "util/object.h"

static MemoryBackend *create(ObjectRegistry *reg, const char *type, const char *props,
                             GError **errp)
{
    g_autoptr(JsonNode) node = json_from_string(props, NULL);

    g_assert_nonnull(node);
    return (MemoryBackend *)object_registry_create(reg, type, "m0", json_node_get_object(node),
                                                   errp);
}

static void test_refused(void)
{
    static const struct {
        const char *type, *props, *message;
    } cases[] = {
        {"memory-backend-ram", "{}", "'size' must be given"},
        {"memory-backend-ram", "{\"size\":0}", "'size' must be given"},
        {"memory-backend-ram", "{\"size\":4097}", "multiple of the page size"},
        {"memory-backend-ram", "{\"size\":4096,\"prealloc\":true,\"reserve\":false}",
         "incompatible"},
        {"memory-backend-ram", "{\"size\":4611686018427387904}", "cannot map"},
        {"memory-backend-ram", "{\"size\":4096,\"mem-path\":\"/x\"}", "not found"},
        {"memory-backend-file", "{\"size\":4096}", "'mem-path' must be given"},
        {"memory-backend-file", "{\"size\":4096,\"mem-path\":\"/nowhere/x\"}", "cannot open"},
        {"memory-backend-file", "{\"size\":4096,\"mem-path\":\"/dev/shm\",\"offset\":5}",
         "'offset' must be a multiple"},
        {"memory-backend-file", "{\"size\":4096,\"mem-path\":\"/dev/null\",\"align\":3}",
         "power of two"},
        {"memory-backend-memfd", "{\"size\":4096,\"hugetlbsize\":2097152}", "needs 'hugetlb=on'"},
        {"memory-backend-memfd", "{\"size\":4096,\"hugetlb\":true}", "multiple of the page size"},
        {"memory-backend-shm", "{\"size\":4096,\"share\":false}", "always shared"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        ObjectRegistry *reg = object_registry_new();
        g_autoptr(GError) err = NULL;

        g_assert_null(create(reg, cases[i].type, cases[i].props, &err));
        g_assert_nonnull(err);
        if (!strstr(err->message, cases[i].message)) {
            g_error("case %u: %s", i, err->message);
        }
        object_registry_free(reg);
    }
}

/* One backend of each kind becomes a block, cannot be deleted meanwhile, and its memory works. */
static void check_kind(const char *type, const char *props, uint32_t flags, const char *name)
{
    ObjectRegistry *reg = object_registry_new();
    RAMList *list = ram_list_new();
    g_autoptr(GError) err = NULL;
    MemoryBackend *mb = create(reg, type, props, &err);
    RAMBlock *block;

    g_assert_no_error(err);
    g_assert_cmpuint(memory_backend_size(mb), ==, 4 * MiB);
    block = memory_backend_new_block(mb, list, RAM_MIGRATABLE, &err);
    g_assert_no_error(err);
    g_assert_cmpstr(block->idstr, ==, name);
    g_assert_cmphex(block->flags, ==, flags | RAM_MIGRATABLE);
    g_assert_null(memory_backend_new_block(mb, list, 0, &err));
    g_assert_nonnull(strstr(err->message, "in use already"));
    g_clear_error(&err);
    g_assert_false(object_registry_remove(reg, "m0", &err));
    g_clear_error(&err);
    memset(block->host, 0x77, 4 * MiB);
    ram_block_free(block);
    g_assert_true(object_registry_remove(reg, "m0", &err));
    ram_list_free(list);
    object_registry_free(reg);
}

static void test_kinds(void)
{
    check_kind("memory-backend-ram", "{\"size\":4194304,\"prealloc\":true,\"prealloc-threads\":2}",
               0, "m0");
    check_kind("memory-backend-ram",
               "{\"size\":\"4M\",\"share\":true,\"reserve\":false,"
               "\"x-use-canonical-path-for-ramblock-id\":true,\"merge\":false,\"dump\":false}",
               RAM_SHARED | RAM_NORESERVE, "/objects/m0");
    check_kind("memory-backend-memfd", "{\"size\":4194304}", RAM_SHARED, "m0");
    check_kind("memory-backend-memfd", "{\"size\":4194304,\"share\":false,\"seal\":false}", 0,
               "m0");
    check_kind("memory-backend-shm", "{\"size\":4194304}", RAM_SHARED, "m0");
    check_kind("memory-backend-file",
               "{\"size\":4194304,\"mem-path\":\"/dev/shm\",\"share\":true,\"align\":8388608}",
               RAM_SHARED, "m0");
}

static void test_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("godwit-backend-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "ram", NULL);
    g_autofree char *props =
        g_strdup_printf("{\"size\":8192,\"offset\":4096,\"share\":true,\"mem-path\":\"%s\"}", path);
    g_autofree char *ro_props = g_strdup_printf(
        "{\"size\":8192,\"offset\":4096,\"readonly\":true,\"mem-path\":\"%s\"}", path);
    g_autofree char *long_props =
        g_strdup_printf("{\"size\":16384,\"readonly\":true,\"mem-path\":\"%s\"}", path);
    ObjectRegistry *reg = object_registry_new();
    RAMList *list = ram_list_new();
    g_autoptr(GError) err = NULL;
    RAMBlock *block;
    struct stat st;
    char c = 0;
    int fd;

    block =
        memory_backend_new_block(create(reg, "memory-backend-file", props, NULL), list, 0, NULL);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 12288);
    block->host[0] = 'G';
    fd = open(path, O_RDONLY);
    g_assert_cmpint(pread(fd, &c, 1, 4096), ==, 1);
    g_assert_cmpint(c, ==, 'G');
    ram_block_free(block);
    g_assert_true(object_registry_remove(reg, "m0", NULL));

    /* Read-only and private: the guest cannot write it, loading may, and the file stays. */
    block =
        memory_backend_new_block(create(reg, "memory-backend-file", ro_props, NULL), list, 0, NULL);
    g_assert_cmphex(block->flags, ==, RAM_READONLY);
    g_assert_cmpint(block->host[0], ==, 'G');
    block->host[0] = 'X';
    g_assert_cmpint(pread(fd, &c, 1, 4096), ==, 1);
    g_assert_cmpint(c, ==, 'G');
    ram_block_free(block);
    g_assert_true(object_registry_remove(reg, "m0", NULL));
    g_assert_null(create(reg, "memory-backend-file", long_props, &err));
    g_assert_nonnull(strstr(err->message, "0x4000 are needed"));

    close(fd);
    object_registry_free(reg);
    ram_list_free(list);
    g_unlink(path);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory-backend/refused", test_refused);
    g_test_add_func("/memory-backend/kinds", test_kinds);
    g_test_add_func("/memory-backend/file", test_file);
    return g_test_run();
}
