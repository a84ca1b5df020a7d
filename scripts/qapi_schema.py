# SPDX-License-Identifier: GPL-2.0-or-later
"""The QAPI schema: its text, and what it means (the language: docs/devel/qapi.md)."""
import json
import os
import re

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
