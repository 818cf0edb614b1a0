/* QEMU plugin: counts how often each instruction is executed, and writes "ADDRESS COUNT" lines (hexadecimal, decimal)
   to the file of its argument out=FILE. An address has a line per translation; a reader adds them up.

   What it uses of QEMU's plugin interface is declared here, so that no header of QEMU is needed. VERSION is that of the
   interface: QEMU 9 and later refuse 1, earlier ones know no other. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *),
                                            enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

#define SHOWN __attribute__((visibility("default")))
SHOWN extern int qemu_plugin_version;
SHOWN int qemu_plugin_install(qemu_plugin_id_t, const struct qemu_info_t *, int, char **);

int qemu_plugin_version = VERSION;

/* Instructions of one translated block. */
struct block {
    struct block *next;
    size_t count;
    struct { uint64_t address, executed; } instruction[];
};
static struct block *blocks;
static FILE *out;

static void executed(unsigned cpu, void *count)
{
    (void)cpu;
    ++*(uint64_t *)count;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *code)
{
    size_t count = qemu_plugin_tb_n_insns(code);
    struct block *block = calloc(1, sizeof *block + count * sizeof block->instruction[0]);
    (void)id;
    if (!block)
        abort();
    block->next = blocks;
    block->count = count;
    blocks = block;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(code, i);
        block->instruction[i].address = qemu_plugin_insn_vaddr(instruction);
        qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, QEMU_PLUGIN_CB_NO_REGS,
                                               &block->instruction[i].executed);
    }
}

static void ended(qemu_plugin_id_t id, void *unused)
{
    (void)id;
    (void)unused;
    for (const struct block *block = blocks; block; block = block->next)
        for (size_t i = 0; i < block->count; i++)
            if (block->instruction[i].executed)
                fprintf(out, "%" PRIx64 " %" PRIu64 "\n", block->instruction[i].address,
                        block->instruction[i].executed);
    fclose(out);
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int count, char **arguments)
{
    (void)info;
    if (count != 1 || strncmp(arguments[0], "out=", 4) || !(out = fopen(arguments[0] + 4, "w")))
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
