#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/qapi-gen.py: what it refuses, and what it tells clients about a schema."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

GENERATOR = sys.argv.pop(1)
SAMPLE = sys.argv.pop(1)


def generate(schema, *options):
    """Run on the text; returns (exit status, stderr, introspection or None)."""
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, 'm.json')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(schema)
        done = subprocess.run([sys.executable, GENERATOR, '--output-dir', tmp, *options, path],
                              stderr=subprocess.PIPE, text=True, check=False)
        introspection = None
        if done.returncode == 0:
            with open(os.path.join(tmp, 'qapi-introspect.c'), encoding='utf-8') as f:
                strings = re.findall(r'^    ("(?:[^"\\]|\\.)*")', f.read(), re.M)
            introspection = json.loads(''.join(json.loads(s) for s in strings))
        return done.returncode, done.stderr.replace(tmp + '/', ''), introspection


class Refusals(unittest.TestCase):
    CASES = [
        ("{ 'struct': 'A', 'data': { 'x': 'Nope' } }", "struct 'A': unknown type 'Nope'"),
        ("{ 'struct': 'A' }\n{ 'struct': 'A' }", "m.json:2: struct 'A': defined twice"),
        ("{ 'struct': 'A', 'data': { 'x': 'str', 'x': 'int' } }", 'duplicate key'),
        ("{ 'struct': 'A', 'extra': 'x' }", "struct has unknown key 'extra'"),
        ("{ 'struct': 'A', 'base': 'B' }\n{ 'struct': 'B', 'data': { 'x': 'str' } }", None),
        ("{ 'struct': 'B', 'data': { 'x': 'str' } }\n"
         "{ 'struct': 'A', 'base': 'B', 'data': { 'x': 'str' } }", 'duplicate member'),
        ("{ 'enum': 'E', 'data': ['a', 'a'] }", 'duplicate value'),
        ("{ 'nonsense': 'A' }", 'no directive, type, command or event'),
        ("{ 'struct': 'A' ", "expected ,, found 'end of file'"),
        ("{ 'struct': \"A\" }", "stray character '\"'"),
        ("{ 'struct': 'A', 'data': { 'x': ['null'] } }", 'arrays of arrays and of null'),
        ("{ 'enum': 'E', 'data': ['a'] }\n{ 'struct': 'S' }\n"
         "{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'f', 'data': {} }",
         "'discriminator' must name"),
        ("{ 'enum': 'E', 'data': ['a'] }\n{ 'struct': 'S' }\n"
         "{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e', 'data': { 'b': 'S' } }",
         "'b' is no value of E"),
        ("{ 'alternate': 'A', 'data': { 'a': 'str', 'b': 'str' } }",
         "two branches for JSON type 'str'"),
        ("{ 'command': 'c', 'data': 'str' }", "'data' must name a struct or union"),
        ("{ 'include': 'nope.json' }", 'No such file'),
    ]

    def test_refusals(self):
        for schema, text in self.CASES:
            with self.subTest(schema=schema):
                status, stderr, _ = generate(schema)
                self.assertEqual(status, 1 if text else 0)
                self.assertIn(text or '', stderr)

    def test_unknown_module(self):
        status, stderr, _ = generate("{ 'struct': 'A' }", '--commands', 'x')
        self.assertEqual(status, 1)
        self.assertIn('no such module: x', stderr)


class Introspection(unittest.TestCase):
    def setUp(self):
        with open(SAMPLE, encoding='utf-8') as f:
            text = f.read()
        self.entities = generate(text, '--commands', 'm')[2]
        self.by_name = {e['name']: e for e in self.entities}
        self.without = generate(text)[2]

    def test_references_resolve(self):
        self.assertEqual(len(self.by_name), len(self.entities))
        for e in self.entities:
            refs = [e[k] for k in ('arg-type', 'ret-type', 'element-type') if k in e]
            refs += [m['type'] for m in e.get('members', []) if 'type' in m]
            refs += [v['type'] for v in e.get('variants', [])]
            for ref in refs:
                self.assertIn(ref, self.by_name)

    def test_types_are_masked(self):
        for e in self.entities:
            if e['meta-type'] in ('object', 'enum', 'alternate'):
                self.assertRegex(e['name'], r'^\d+$')
            elif e['meta-type'] == 'array':
                self.assertEqual(e['name'], f"[{e['element-type']}]")

    def test_members(self):
        shape = self.by_name[self.by_name['echo-shape']['arg-type']]
        self.assertEqual([m['name'] for m in shape['members']], ['kind', 'label'])
        self.assertNotIn('default', shape['members'][0])
        self.assertIsNone(shape['members'][1]['default'])
        self.assertEqual(shape['tag'], 'kind')
        self.assertEqual([v['case'] for v in shape['variants']], ['red', 'dark-green'])
        thing = self.by_name[shape['variants'][0]['type']]
        members = {m['name']: m for m in thing['members']}
        self.assertEqual(members['weight']['type'], 'int')
        self.assertEqual(members['numbers']['type'], '[int]')
        self.assertEqual(members['real']['features'], ['deprecated'])
        self.assertNotIn('gone', members)
        colour = self.by_name[members['colour']['type']]
        self.assertEqual(colour['values'], ['red', 'dark-green'])
        self.assertEqual(colour['members'][1], {'name': 'dark-green', 'features': ['unstable']})

    def test_commands(self):
        self.assertTrue(self.by_name['echo-shape']['allow-oob'])
        self.assertNotIn('allow-oob', self.by_name['add'])
        self.assertEqual(self.by_name['echo-ints']['features'], ['unstable'])
        self.assertEqual(self.by_name['add']['ret-type'], 'int')
        self.assertEqual(self.by_name[self.by_name['nothing']['arg-type']]['members'], [])

    def test_switched_off_commands_are_absent(self):
        metas = {e['meta-type'] for e in self.without}
        self.assertNotIn('command', metas)
        self.assertIn('event', metas)


if __name__ == '__main__':
    unittest.main()
