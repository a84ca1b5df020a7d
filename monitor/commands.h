/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For the files that implement commands. */
#ifndef MONITOR_COMMANDS_H
#define MONITOR_COMMANDS_H

#include "monitor/internal.h"

/* The first message to a client; from commands-control.c. */
JsonNode *qmp_greeting(void);

/* Free-form arguments may be absent altogether: @args, or NULL and an error. */
JsonObject *given_arguments(JsonObject *args, GError **errp);

/* QOM paths (qom-path.c): what @path names. */
typedef enum {
    QOM_NONE,
    QOM_ROOT,       /* / */
    QOM_OBJECTS,    /* /objects */
    QOM_MACHINE,    /* /machine */
    QOM_PERIPHERAL, /* /machine/peripheral */
    QOM_UNATTACHED, /* /machine/unattached */
    QOM_CPU,        /* /machine/unattached/cpu[N] */
    QOM_OBJECT,     /* an object or device */
} QomKind;
typedef struct {
    QomKind kind;
    GObject *object; /* QOM_OBJECT; borrowed */
} QomPlace;
/* False and DeviceNotFound. A path without leading '/' is an id. */
bool qom_resolve(MonitorHub *hub, const char *path, QomPlace *place, GError **errp);
/* Call @cb for each child: its name and type. */
void qom_foreach_child(MonitorHub *hub, const QomPlace *place,
                       void (*cb)(const char *name, const char *type, void *opaque), void *opaque);
/* Type of the place itself ("virt-machine", "container", ...). */
char *qom_place_type(MonitorHub *hub, const QomPlace *place);
/* info pci (commands-pci.c). */
void hmp_print_pci(GString *out, Machine *m);

#endif
