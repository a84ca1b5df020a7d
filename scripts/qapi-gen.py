#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make C from the QAPI schema.

Usage: qapi-gen.py --output-dir DIR [--commands MODULE]... [--define NAME]... FILE.json...

Every schema file is a module.  For module M this writes qapi-types-M.[ch] and qapi-events-M.[ch];
for the modules named by --commands also qapi-commands-M.[ch]; for all of them together
qapi-introspect.c, the answer of query-qmp-schema.  What the C looks like is said in
include/qapi/qapi.h; the schema language and the reasons are in docs/devel/qapi.md.

The file reads in the order of the work: read the text, check the meaning, write the types,
write the commands, write the events, write the introspection.
"""
import argparse
import json
import os
import re
import sys

# ---------------------------------------------------------------------------------------------
# Reading: schema text -> Python values, each top-level object with its place.
# ---------------------------------------------------------------------------------------------


class SchemaError(Exception):
    def __init__(self, where, text):
        super().__init__(f'{where[0]}:{where[1]}: {text}')


TOKEN = re.compile(r"""(?P<skip>[ \t]+|\#[^\n]*)|(?P<nl>\n)|(?P<punct>[{}\[\]:,])"""
                   r"""|'(?P<str>[^'\\\n]*)'|(?P<word>true|false)""")


class Reader:
    """One schema file: a sequence of JSON objects with 'single quotes' and # comments."""

    def __init__(self, path):
        self.path = path
        self.tokens = []
        with open(path, encoding='utf-8') as f:
            text = f.read()
        pos, line = 0, 1
        while pos < len(text):
            m = TOKEN.match(text, pos)
            if not m:
                raise SchemaError((path, line), f'stray character {text[pos]!r}')
            pos = m.end()
            if m.lastgroup == 'nl':
                line += 1
            elif m.lastgroup != 'skip':
                self.tokens.append((m.lastgroup, m.group(m.lastgroup), line))
        self.tokens.append(('end', 'end of file', line))
        self.at = 0

    def where(self):
        return (self.path, self.tokens[self.at][2])

    def take(self, kind=None, text=None):
        tok = self.tokens[self.at]
        if (kind and tok[0] != kind) or (text and tok[1] != text):
            raise SchemaError(self.where(), f"expected {text or kind}, found '{tok[1]}'")
        self.at += 1
        return tok[1]

    def peek(self, text):
        tok = self.tokens[self.at]
        return tok[0] == 'punct' and tok[1] == text

    def value(self):
        kind, text, _ = self.tokens[self.at]
        if kind == 'str':
            return self.take()
        if kind == 'word':
            return self.take() == 'true'
        if self.peek('{'):
            return self.items('{', '}', self.member, dict)
        if self.peek('['):
            return self.items('[', ']', self.value, list)
        raise SchemaError(self.where(), f"expected a value, found '{text}'")

    def member(self):
        key = self.take('str')
        self.take('punct', ':')
        return key, self.value()

    def items(self, start, end, item, make):
        where = self.where()
        self.take('punct', start)
        found = []
        while not self.peek(end):
            if found:
                self.take('punct', ',')
            found.append(item())
        self.take('punct', end)
        made = make(found)
        if len(made) != len(found):
            raise SchemaError(where, 'duplicate key')
        return made

    def objects(self):
        while self.tokens[self.at][0] != 'end':
            where = self.where()
            yield where, self.items('{', '}', self.member, dict)


# ---------------------------------------------------------------------------------------------
# Meaning: the entities, with every reference resolved.
# ---------------------------------------------------------------------------------------------

KEYS = {
    'include': set(),
    'pragma': set(),
    'enum': {'data', 'prefix', 'if', 'features'},
    'struct': {'data', 'base', 'if', 'features'},
    'union': {'base', 'discriminator', 'data', 'if', 'features'},
    'alternate': {'data', 'if', 'features'},
    'command': {'data', 'boxed', 'returns', 'allow-oob', 'allow-preconfig', 'gen', 'coroutine',
                'success-response', 'if', 'features'},
    'event': {'data', 'if', 'features'},
}

# name -> (C type, descriptor, JSON type of introspection)
BUILTINS = {
    'str': ('char *', 'qapi_type_str', 'string'),
    'bool': ('bool ', 'qapi_type_bool', 'boolean'),
    'number': ('double ', 'qapi_type_number', 'number'),
    'any': ('JsonNode *', 'qapi_type_any', 'value'),
    'null': (None, 'qapi_type_null', 'null'),
    'int': ('int64_t ', 'qapi_type_int', 'int'),
    'size': ('uint64_t ', 'qapi_type_uint64', 'int'),
}
for bits in (8, 16, 32, 64):
    for sign in ('int', 'uint'):
        BUILTINS[f'{sign}{bits}'] = (f'{sign}{bits}_t ', f'qapi_type_{sign}{bits}', 'int')

C_RESERVED = set('''auto break case char const continue default do double else enum extern float
    for goto if inline int long register restrict return short signed sizeof static struct switch
    typedef union unsigned void volatile while linux unix'''.split())


def c_suffix(name):
    return re.sub(r'[^a-zA-Z0-9_]', '_', name)


def c_name(name):
    name = c_suffix(name)
    return 'q_' + name if name in C_RESERVED or name[0].isdigit() else name


def c_enum_prefix(name):
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    return re.sub(r'([A-Z])([A-Z][a-z])', r'\1_\2', name).upper()


def c_string(text):
    return json.dumps(text)


class Member:
    def __init__(self, name, spec, where):
        self.optional = name.startswith('*')
        self.name = name[1:] if self.optional else name
        if not isinstance(spec, dict):
            spec = {'type': spec}
        self.features = features(spec, where)
        self.cond = spec.get('if')
        if set(spec) - {'type', 'if', 'features'}:
            raise SchemaError(where, f"member '{self.name}' has an unknown key")
        if not re.fullmatch(r'[a-z0-9_][a-z0-9_.-]*', self.name, re.I):
            raise SchemaError(where, f"bad member name '{self.name}'")
        self.typename = spec['type']
        self.type = None
        self.c = c_name(self.name)


def features(spec, where):
    names = [f if isinstance(f, str) else f['name'] for f in spec.get('features', [])]
    if len(set(names)) != len(names):
        raise SchemaError(where, 'duplicate feature')
    return names


class Type:
    """A reference target: builtin, array or one of the subclasses below."""
    pointer = True

    def __init__(self, name, c_type, descriptor):
        self.name, self.c_type, self.descriptor = name, c_type, descriptor


class Builtin(Type):
    def __init__(self, name):
        super().__init__(name, *BUILTINS[name][:2])
        self.json_type = BUILTINS[name][2]
        self.pointer = name in ('str', 'any')


class Array(Type):
    def __init__(self, element):
        scalar = not element.pointer
        super().__init__(f'[{element.name}]', 'GArray *' if scalar else 'GPtrArray *',
                         f'qapi_list_{c_name(element.name)}')
        self.element = element


class Entity(Type):
    def __init__(self, module, where, meta, spec):
        name = spec[meta]
        super().__init__(name, f'{c_name(name)} *', f'qapi_type_{c_name(name)}')
        self.module, self.where, self.meta, self.spec = module, where, meta, spec
        self.features = features(spec, where)
        self.members = []

    def error(self, text):
        raise SchemaError(self.where, f"{self.meta} '{self.name}': {text}")

    def take_members(self, data):
        if not isinstance(data, dict):
            self.error("'data' must be an object")
        self.members += [Member(k, v, self.where) for k, v in data.items()]

    def resolve(self, schema):
        self.members = [m for m in self.members if schema.wanted(m.cond)]
        for m in self.members:
            m.type = schema.type(m.typename, self)

    def all_members(self):
        return self.members


class Enum(Entity):
    pointer = False

    def __init__(self, *args):
        super().__init__(*args)
        self.c_type = c_name(self.name) + ' '
        self.prefix = self.spec.get('prefix') or c_enum_prefix(self.name)

    def resolve(self, schema):
        values = [v if isinstance(v, dict) else {'name': v} for v in self.spec['data']]
        self.values = [v for v in values if schema.wanted(v.get('if'))]
        names = [v['name'] for v in self.values]
        if len(set(names)) != len(names):
            self.error('duplicate value')

    def c_value(self, name):
        return f'{self.prefix}_{re.sub(r"[^A-Z0-9]", "_", name.upper())}'


class Struct(Entity):
    def __init__(self, *args):
        super().__init__(*args)
        self.base = None
        self.take_members(self.spec.get('data', {}))

    def resolve(self, schema):
        super().resolve(schema)
        if 'base' in self.spec:
            self.base = schema.type(self.spec['base'], self)
            if not isinstance(self.base, Struct):
                self.error("'base' must be a struct")
        names = [m.name for m in self.all_members()]
        if len(set(names)) != len(names):
            self.error('duplicate member')

    def all_members(self):
        return (self.base.all_members() if self.base else []) + self.members


class Union(Entity):
    def __init__(self, *args):
        super().__init__(*args)
        self.base = None
        if isinstance(self.spec['base'], dict):
            self.take_members(self.spec['base'])

    def resolve(self, schema):
        super().resolve(schema)
        if isinstance(self.spec['base'], str):
            self.base = schema.type(self.spec['base'], self)
        tags = [m for m in self.all_members() if m.name == self.spec['discriminator']]
        if not tags or not isinstance(tags[0].type, Enum) or tags[0].optional:
            self.error("'discriminator' must name a mandatory enum member of the base")
        self.tag = tags[0]
        known = [v['name'] for v in self.tag.type.values]
        self.branches = {}
        for case, spec in self.spec['data'].items():
            spec = spec if isinstance(spec, dict) else {'type': spec}
            if not schema.wanted(spec.get('if')):
                continue
            if case not in known:
                self.error(f"'{case}' is no value of {self.tag.type.name}")
            self.branches[case] = schema.type(spec['type'], self)
            if not isinstance(self.branches[case], (Struct, Union)):
                self.error(f"branch '{case}' must be a struct or union")

    def all_members(self):
        return (self.base.all_members() if self.base else []) + self.members


ALT_KINDS = ['null', 'bool', 'int', 'number', 'str', 'object', 'array']


class Alternate(Entity):
    def __init__(self, *args):
        super().__init__(*args)
        self.take_members(self.spec['data'])

    def resolve(self, schema):
        super().resolve(schema)
        self.by_kind = {}
        for m in self.members:
            kind = self.kind_of(m.type)
            if kind in self.by_kind:
                self.error(f"two branches for JSON type '{kind}'")
            self.by_kind[kind] = m

    @staticmethod
    def kind_of(t):
        if isinstance(t, Builtin):
            return {'string': 'str', 'boolean': 'bool', 'int': 'int', 'number': 'number',
                    'null': 'null'}[t.json_type]
        return 'str' if isinstance(t, Enum) else 'array' if isinstance(t, Array) else 'object'


class Call(Entity):
    """A command or an event."""

    def __init__(self, *args):
        super().__init__(*args)
        self.boxed = None
        data = self.spec.get('data', {})
        if isinstance(data, dict):
            self.take_members(data)

    def resolve(self, schema):
        super().resolve(schema)
        if isinstance(self.spec.get('data'), str):
            self.boxed = schema.type(self.spec['data'], self)
            if not isinstance(self.boxed, (Struct, Union)):
                self.error("'data' must name a struct or union")
        self.returns = schema.type(self.spec['returns'], self) if 'returns' in self.spec else None


class Schema:
    CLASSES = {'enum': Enum, 'struct': Struct, 'union': Union, 'alternate': Alternate,
               'command': Call, 'event': Call}

    def __init__(self, files, defines):
        self.defines = defines
        self.modules = {}       # module -> list of modules it includes
        self.types = {name: Builtin(name) for name in BUILTINS}
        self.entities = []
        for path in files:
            self.read(path)
        for e in self.entities:
            if isinstance(e, Enum):
                e.resolve(self)
        for e in self.entities:
            if not isinstance(e, (Enum, Union)):
                e.resolve(self)
        for e in self.entities:
            if isinstance(e, Union):
                e.resolve(self)

    def wanted(self, cond):
        if cond is None:
            return True
        if isinstance(cond, dict):
            return not self.wanted(cond['not'])
        return cond in self.defines

    def read(self, path):
        module = os.path.splitext(os.path.basename(path))[0]
        if module in self.modules:
            return
        includes = self.modules[module] = []
        for where, spec in Reader(path).objects():
            meta = next((k for k in KEYS if k in spec), None)
            if meta is None:
                raise SchemaError(where, 'no directive, type, command or event')
            unknown = set(spec) - {meta} - KEYS[meta]
            if unknown:
                raise SchemaError(where, f"{meta} has unknown key '{sorted(unknown)[0]}'")
            if meta == 'include':
                target = os.path.join(os.path.dirname(path), spec['include'])
                includes.append(os.path.splitext(os.path.basename(target))[0])
                self.read(target)
            elif meta != 'pragma' and self.wanted(spec.get('if')):
                self.add(self.CLASSES[meta](module, where, meta, spec))

    def add(self, entity):
        key = entity.name if not isinstance(entity, Call) else (entity.meta, entity.name)
        if key in self.types:
            entity.error('defined twice')
        self.types[key] = entity
        self.entities.append(entity)

    def type(self, name, user):
        if isinstance(name, list):
            if len(name) != 1:
                user.error('an array names exactly one element type')
            element = self.type(name[0], user)
            if isinstance(element, Array) or element.name == 'null':
                user.error('arrays of arrays and of null do not exist')
            return self.types.setdefault(f'[{element.name}]', Array(element))
        found = self.types.get(name)
        if found is None:
            user.error(f"unknown type '{name}'")
        return found

    def of(self, module, *classes):
        return [e for e in self.entities if e.module == module and isinstance(e, classes)]


# ---------------------------------------------------------------------------------------------
# Writing.
# ---------------------------------------------------------------------------------------------

def write(path, lines):
    """Only touch the file when it changes, so that a schema edit rebuilds only its users."""
    text = '\n'.join(lines) + '\n'
    try:
        with open(path, encoding='utf-8') as f:
            if f.read() == text:
                return
    except OSError:
        pass
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def head(module, comment):
    return ['/* SPDX-License-Identifier: GPL-2.0-or-later */',
            f'/* {comment} of qapi/{module}.json. Generated by scripts/qapi-gen.py; do not edit. */']


def header(module, kind, includes, body):
    guard = f'QAPI_{kind}_{c_name(module)}_H'.upper()
    return (head(module, f'{kind.capitalize()}') +
            [f'#ifndef {guard}', f'#define {guard}', ''] + includes + [''] + body +
            ['', '#endif'])


def c_fields(members, indent='    '):
    lines = []
    for m in members:
        if m.optional and not m.type.pointer:
            lines.append(f'{indent}bool has_{m.c};')
        lines.append(f'{indent}{m.type.c_type}{m.c};')
    return lines


def descriptor_members(owner, members, c_type):
    """The QapiMember table of @c_type, or [] when it has no members."""
    if not members:
        return []
    lines = [f'static const QapiMember {owner}_members[] = {{']
    for m in members:
        has = (f'offsetof({c_type}, has_{m.c})' if m.optional and not m.type.pointer else '-1')
        lines.append(f'    {{{c_string(m.name)}, &{m.type.descriptor}, '
                     f'offsetof({c_type}, {m.c}), {has}, {str(m.optional).lower()}}},')
    return lines + ['};']


def members_init(owner, members):
    if not members:
        return []
    return [f'    .members = {owner}_members,', f'    .n_members = ARRAY_SIZE({owner}_members),']


def list_descriptors(types):
    """Array descriptors are private to each file that uses them."""
    lines = []
    for name in sorted({t.name for t in types if isinstance(t, Array)}):
        t = next(t for t in types if t.name == name)
        lines += [f'static const QapiType {t.descriptor} = {{',
                  f'    .kind = QAPI_LIST, .name = "array", .element = &{t.element.descriptor}}};']
    return lines


class TypesWriter:
    def __init__(self, schema, module):
        self.schema, self.module = schema, module
        self.enums = schema.of(module, Enum)
        self.objects = schema.of(module, Struct, Union, Alternate)

    def files(self):
        yield f'qapi-types-{self.module}.h', self.header()
        yield f'qapi-types-{self.module}.c', self.source()

    def header(self):
        includes = ['#include "qapi/qapi.h"', '#include "qapi/type-info.h"']
        includes += [f'#include "qapi-types-{m}.h"' for m in self.schema.modules[self.module]]
        body = []
        for e in self.enums:
            body.append(f'typedef enum {c_name(e.name)} {{')
            body += [f'    {e.c_value(v["name"])},' for v in e.values]
            body += [f'    {e.prefix}__MAX', f'}} {c_name(e.name)};',
                     f'extern const QapiType {e.descriptor};',
                     f'const char *{c_name(e.name)}_str({c_name(e.name)} v);',
                     f'bool {c_name(e.name)}_parse(const char *s, {c_name(e.name)} *out);', '']
        for e in self.objects:
            body.append(f'typedef struct {c_name(e.name)} {c_name(e.name)};')
        body.append('')
        for e in self.objects:
            body += self.struct(e) + self.prototypes(e) + ['']
        return header(self.module, 'TYPES', includes, body)

    def struct(self, e):
        lines = [f'struct {c_name(e.name)} {{']
        if isinstance(e, Alternate):
            lines += ['    QapiAltKind type;', '    union {']
            lines += [f'        {m.type.c_type}{m.c};' for m in e.members if m.type.c_type]
            return lines + ['    } u;', '};']
        lines += c_fields(e.all_members())
        if isinstance(e, Union) and e.branches:
            lines.append('    union {')
            lines += [f'        {t.c_type}{c_name(case)};' for case, t in e.branches.items()]
            lines.append('    } u;')
        elif not e.all_members():
            lines.append('    char empty_;')
        return lines + ['};']

    def prototypes(self, e):
        n = c_name(e.name)
        return [f'extern const QapiType {e.descriptor};',
                f'void qapi_free_{n}({n} *v);',
                f'{n} *qapi_clone_{n}(const {n} *v);',
                f'JsonNode *qapi_{n}_to_json(const {n} *v);',
                f'{n} *qapi_{n}_from_json(JsonNode *node, const char *path, GError **errp);',
                f'/* An empty list that frees its elements. */',
                f'GPtrArray *qapi_list_new_{n}(void);',
                f'G_DEFINE_AUTOPTR_CLEANUP_FUNC({n}, qapi_free_{n})']

    def source(self):
        lines = head(self.module, 'Types') + ['#include "util/osdep.h"',
                                              f'#include "qapi-types-{self.module}.h"', '']
        lines += list_descriptors([m.type for e in self.objects for m in e.all_members()])
        for e in self.enums:
            lines += self.enum_source(e)
        for e in self.objects:
            lines += self.object_source(e)
        return lines

    def enum_source(self, e):
        n = c_name(e.name)
        return ['', f'static const char *const {n}_values[] = {{'] + \
               [f'    {c_string(v["name"])},' for v in e.values] + \
               ['};', f'const QapiType {e.descriptor} = {{',
                f'    .kind = QAPI_ENUM, .name = "string", .size = sizeof({n}),',
                f'    .values = {n}_values, .n_values = {e.prefix}__MAX}};',
                f'const char *{n}_str({n} v)', '{',
                f'    return qapi_enum_str(&{e.descriptor}, (int)v);', '}',
                f'bool {n}_parse(const char *s, {n} *out)', '{', '    int v;', '',
                f'    if (!qapi_enum_parse(&{e.descriptor}, s, &v)) {{', '        return false;',
                '    }', f'    *out = ({n})v;', '    return true;', '}']

    def object_source(self, e):
        n = c_name(e.name)
        lines = ['']
        extra = []
        if isinstance(e, Alternate):
            lines.append(f'static const QapiType *const {n}_branches[QAPI_ALT__MAX] = {{')
            lines += [f'    [QAPI_ALT_{k.upper()}] = &{m.type.descriptor},'
                      for k, m in e.by_kind.items()]
            lines.append('};')
            extra = [f'    .branches = {n}_branches, .branch_offset = offsetof({n}, u),']
        else:
            lines += descriptor_members(n, e.all_members(), n)
            extra = members_init(n, e.all_members())
            if isinstance(e, Union) and e.branches:
                lines.append(f'static const QapiType *const {n}_branches[{e.tag.type.prefix}__MAX]'
                             ' = {')
                lines += [f'    [{e.tag.type.c_value(case)}] = &{t.descriptor},'
                          for case, t in e.branches.items()]
                lines.append('};')
                tag = [m.name for m in e.all_members()].index(e.tag.name)
                extra += [f'    .tag = &{n}_members[{tag}], .branches = {n}_branches,',
                          f'    .branch_offset = offsetof({n}, u),']
        kind = 'QAPI_ALTERNATE' if isinstance(e, Alternate) else 'QAPI_OBJECT'
        expects = 'object'
        if isinstance(e, Alternate):
            names = {'str': 'string', 'bool': 'boolean', 'int': 'integer'}
            expects = ' or '.join(names.get(k, k) for k in e.by_kind)
        lines += [f'const QapiType {e.descriptor} = {{',
                  f'    .kind = {kind}, .name = "{expects}", .size = sizeof({n}),',
                  f'    .free = (GDestroyNotify)qapi_free_{n},'] + extra + ['};']
        lines += [f'void qapi_free_{n}({n} *v)', '{',
                  f'    qapi_free(&{e.descriptor}, v);', '}',
                  f'{n} *qapi_clone_{n}(const {n} *v)', '{',
                  f'    return qapi_clone(&{e.descriptor}, v);', '}',
                  f'JsonNode *qapi_{n}_to_json(const {n} *v)', '{',
                  f'    return qapi_to_json(&{e.descriptor}, &v);', '}',
                  f'{n} *qapi_{n}_from_json(JsonNode *node, const char *path, GError **errp)', '{',
                  f'    {n} *v = NULL;', '',
                  f'    return qapi_from_json(&{e.descriptor}, node, path, &v, errp) ? v : NULL;',
                  '}',
                  f'GPtrArray *qapi_list_new_{n}(void)', '{',
                  f'    return g_ptr_array_new_with_free_func((GDestroyNotify)qapi_free_{n});',
                  '}']
        return lines


class CommandsWriter:
    def __init__(self, schema, module):
        self.module = module
        self.commands = [c for c in schema.of(module, Call) if c.meta == 'command']

    def files(self):
        yield f'qapi-commands-{self.module}.h', self.header()
        yield f'qapi-commands-{self.module}.c', self.source()

    @staticmethod
    def args_type(c):
        if c.spec.get('gen') is False:
            return 'JsonObject *'
        if c.boxed:
            return f'const {c_name(c.boxed.name)} *'
        return f'const QmpArgs_{c_name(c.name)} *' if c.members else None

    def prototype(self, c):
        args = self.args_type(c)
        result = c.returns.c_type if c.returns else 'void '
        return (f'{result}qmp_{c_name(c.name)}(QmpCall *call, ' +
                (f'{args}args, ' if args else '') + 'GError **errp)')

    def header(self):
        body = []
        for c in self.commands:
            if c.members and c.spec.get('gen', True):
                body += ['typedef struct {'] + c_fields(c.members)
                body.append(f'}} QmpArgs_{c_name(c.name)};')
            body += [self.prototype(c) + ';', '']
        body.append(f'void qmp_register_{c_suffix(self.module)}(QmpCommandTable *t, void *opaque);')
        return header(self.module, 'COMMANDS', [f'#include "qapi-types-{self.module}.h"'], body)

    def source(self):
        lines = head(self.module, 'Commands') + ['#include "util/osdep.h"',
                                                 f'#include "qapi-commands-{self.module}.h"', '']
        lines += list_descriptors([m.type for c in self.commands for m in c.members] +
                                  [c.returns for c in self.commands if c.returns])
        for c in self.commands:
            lines += [''] + self.marshaller(c)
        lines += ['', 'static const QmpCommandDef commands[] = {']
        for c in self.commands:
            flags = ', '.join(str(bool(c.spec.get(k))).lower()
                              for k in ('allow-oob', 'allow-preconfig'))
            lines.append(f'    {{{c_string(c.name)}, {flags}, marshal_{c_name(c.name)}}},')
        return lines + ['};', '',
                        f'void qmp_register_{c_suffix(self.module)}(QmpCommandTable *t, '
                        'void *opaque)',
                        '{',
                        '    qmp_command_table_add(t, commands, ARRAY_SIZE(commands), opaque);',
                        '}']

    def marshaller(self, c):
        n = c_name(c.name)
        lines, fill, clear, args = [], '', '', ''
        decls = ['    GError *err = NULL;']
        raw = c.spec.get('gen') is False
        if raw:
            args = 'obj, '
        elif c.boxed:
            decls.append(f'    {c.boxed.c_type}args = NULL;')
            fill = f'qapi_args_boxed(&{c.boxed.descriptor}, obj, (void **)&args, errp)'
            clear = f'    qapi_free(&{c.boxed.descriptor}, args);'
            args = 'args, '
        elif c.members:
            struct = f'QmpArgs_{n}'
            lines += descriptor_members(f'args_{n}', c.members, struct)
            lines += [f'static const QapiType args_{n} = {{',
                      f'    .kind = QAPI_OBJECT, .name = "object", .size = sizeof({struct}),']
            lines += members_init(f'args_{n}', c.members) + ['};']
            decls.append(f'    {struct} args = {{0}};')
            fill = f'qapi_args_from_json(&args_{n}, obj, &args, errp)'
            clear = f'    qapi_args_clear(&args_{n}, &args);'
            args = '&args, '
        else:
            fill = 'qapi_args_none(obj, errp)'
        call = f'qmp_{n}(call, {args}&err);'
        body = []
        if fill:
            body += [f'    if (!{fill}) {{', '        return false;', '    }']
        if c.returns:
            decls.append(f'    {c.returns.c_type}value;')
            body.append(f'    value = {call}')
        else:
            body.append(f'    {call}')
        if clear:
            body.append(clear)
        if c.returns:
            body.append(f'    return qapi_return(&{c.returns.descriptor}, &value, err, ret, errp);')
        else:
            body.append('    return qapi_return(NULL, NULL, err, ret, errp);')
        return lines + [f'static bool marshal_{n}(QmpCall *call, JsonObject *obj, JsonNode **ret, '
                        'GError **errp)', '{'] + decls + [''] + body + ['}']


class EventsWriter:
    def __init__(self, schema, module):
        self.module = module
        self.events = [c for c in schema.of(module, Call) if c.meta == 'event']

    def files(self):
        yield f'qapi-events-{self.module}.h', self.header()
        yield f'qapi-events-{self.module}.c', self.source()

    @staticmethod
    def prototype(e):
        params = ['const QapiEventSink *sink']
        if e.boxed:
            params.append(f'const {e.boxed.c_type}data')
        for m in e.members:
            if m.optional and not m.type.pointer:
                params.append(f'bool has_{m.c}')
            const = 'const ' if m.type.pointer and m.type.name != 'any' else ''
            params.append(f'{const}{m.type.c_type}{m.c}')
        name = c_name(e.name.lower())
        return f'void qapi_event_send_{name}(' + ', '.join(params) + ')'

    def header(self):
        return header(self.module, 'EVENTS', [f'#include "qapi-types-{self.module}.h"'],
                      [self.prototype(e) + ';' for e in self.events])

    def source(self):
        lines = head(self.module, 'Events') + ['#include "util/osdep.h"',
                                               f'#include "qapi-events-{self.module}.h"', '']
        lines += list_descriptors([m.type for e in self.events for m in e.members])
        for e in self.events:
            lines += ['', self.prototype(e), '{']
            if e.boxed:
                lines += [f'    qapi_event_emit(sink, {c_string(e.name)}, '
                          f'qapi_to_object(&{e.boxed.descriptor}, data));']
            elif e.members:
                lines.append('    JsonObject *data = json_object_new();')
                lines.append('')
                for m in e.members:
                    add = (f'json_object_set_member(data, {c_string(m.name)}, '
                           f'qapi_to_json(&{m.type.descriptor}, &{m.c}));')
                    if m.optional:
                        test = m.c if m.type.pointer else f'has_{m.c}'
                        lines += [f'    if ({test}) {{', f'        {add}', '    }']
                    else:
                        lines.append(f'    {add}')
                lines.append(f'    qapi_event_emit(sink, {c_string(e.name)}, data);')
            else:
                lines.append(f'    qapi_event_emit(sink, {c_string(e.name)}, NULL);')
            lines.append('}')
        return lines


class Introspection:
    """query-qmp-schema: commands, events and every type they reach, type names masked."""

    def __init__(self, schema, modules):
        self.entities = []
        self.names = {}
        self.arrays = set()
        self.pending = []
        for name, t in BUILTINS.items():
            if name in ('str', 'int', 'number', 'bool', 'null', 'any'):
                self.emit(name, 'builtin', **{'json-type': t[2]})
        self.empty = self.mask('')
        self.emit(self.empty, 'object', members=[])
        for e in schema.entities:
            if isinstance(e, Call) and (e.meta == 'event' or e.module in modules):
                self.call(e)
        while self.pending:
            self.type_entity(*self.pending.pop(0))

    def emit(self, name, meta, feature_names=(), **rest):
        entity = {'name': name, 'meta-type': meta, **rest}
        if feature_names:
            entity['features'] = list(feature_names)
        self.entities.append(entity)

    def mask(self, name):
        return self.names.setdefault(name, str(len(self.names)))

    def ref(self, t):
        if isinstance(t, Builtin):
            return 'int' if t.json_type == 'int' else t.name
        if isinstance(t, Array):
            element = self.ref(t.element)
            name = f'[{element}]'
            if name not in self.arrays:  # all integer types look the same here
                self.arrays.add(name)
                self.emit(name, 'array', **{'element-type': element})
            return name
        fresh = t.name not in self.names
        name = self.mask(t.name)
        if fresh:
            self.pending.append((name, t))
        return name

    def members(self, members):
        out = []
        for m in members:
            one = {'name': m.name, 'type': self.ref(m.type)}
            if m.optional:
                one['default'] = None
            if m.features:
                one['features'] = m.features
            out.append(one)
        return out

    def call(self, c):
        arg = self.empty
        if c.boxed:
            arg = self.ref(c.boxed)
        elif c.members:
            arg = self.mask(f'{c.meta} {c.name}')
            self.emit(arg, 'object', members=self.members(c.members))
        rest = {'arg-type': arg}
        if c.meta == 'command':
            rest['ret-type'] = self.ref(c.returns) if c.returns else self.empty
            if c.spec.get('allow-oob'):
                rest['allow-oob'] = True
        self.emit(c.name, c.meta, c.features, **rest)

    def type_entity(self, name, t):
        if isinstance(t, Enum):
            members = [{'name': v['name'], **({'features': features(v, t.where)}
                                              if v.get('features') else {})} for v in t.values]
            self.emit(name, 'enum', t.features, members=members,
                      values=[v['name'] for v in t.values])
        elif isinstance(t, Alternate):
            self.emit(name, 'alternate', t.features,
                      members=[{'type': self.ref(m.type)} for m in t.members])
        else:
            rest = {'members': self.members(t.all_members())}
            if isinstance(t, Union):
                rest['tag'] = t.tag.name
                rest['variants'] = [
                    {'case': v['name'], 'type': self.ref(t.branches[v['name']])
                     if v['name'] in t.branches else self.empty} for v in t.tag.type.values]
            self.emit(name, 'object', t.features, **rest)

    def source(self):
        lines = ['/* SPDX-License-Identifier: GPL-2.0-or-later */',
                 '/* The answer of query-qmp-schema. Generated by scripts/qapi-gen.py; do not edit. '
                 '*/', '#include "util/osdep.h"', '#include "qapi/qapi.h"', '',
                 'const char qapi_schema_json[] =']
        for i, e in enumerate(self.entities):
            last = i + 1 == len(self.entities)
            text = ('[' if i == 0 else '') + json.dumps(e) + (']' if last else ', ')
            lines.append(f'    {c_string(text)}' + (';' if last else ''))
        return lines


def main():
    parser = argparse.ArgumentParser(description='Make C from the QAPI schema')
    parser.add_argument('--output-dir', required=True)
    parser.add_argument('--commands', action='append', default=[], metavar='MODULE')
    parser.add_argument('--define', action='append', default=[], metavar='NAME')
    parser.add_argument('files', nargs='+')
    args = parser.parse_args()
    try:
        schema = Schema(args.files, set(args.define))
        unknown = set(args.commands) - set(schema.modules)
        if unknown:
            raise SchemaError(('--commands', 0), f'no such module: {sorted(unknown)[0]}')
        files = []
        for module in schema.modules:
            writers = [TypesWriter, EventsWriter]
            if module in args.commands:
                writers.append(CommandsWriter)
            for writer in writers:
                files += writer(schema, module).files()
        files.append(('qapi-introspect.c', Introspection(schema, args.commands).source()))
    except (SchemaError, OSError) as e:
        print(f'qapi-gen: {e}', file=sys.stderr)
        return 1
    for name, lines in files:
        write(os.path.join(args.output_dir, name), lines)
    return 0


if __name__ == '__main__':
    sys.exit(main())
