# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates and keys for tests, made with certtool the way docs/user/tls.md tells people to."""
from __future__ import annotations

import pathlib
import subprocess

PSK = "0123456789abcdef0123456789abcdef"


def certtool(*args: str) -> None:
    result = subprocess.run(["certtool", *args], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"certtool {' '.join(args)}: {result.stderr}"


class Authority:
    """A certificate authority in a directory, which signs what the sides need."""

    def __init__(self, root: pathlib.Path, name: str = "Test CA") -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "ca.info").write_text(f'cn = "{name}"\nca\ncert_signing_key\ncrl_signing_key\n'
                                      "expiration_days = 30\n")
        self._key(root / "ca-key.pem")
        certtool("--generate-self-signed", "--load-privkey", f"{root}/ca-key.pem",
                 "--template", f"{root}/ca.info", "--outfile", f"{root}/ca-cert.pem")

    @staticmethod
    def _key(path: pathlib.Path) -> None:
        certtool("--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1",
                 "--outfile", str(path))

    def side(self, name: str, endpoint: str, *lines: str, dn: str = "", usage: str = "",
             trust: Authority | None = None) -> str:
        """A directory with what ENDPOINT needs; no certificate without a DN."""
        directory = self.root / name
        directory.mkdir()
        (directory / "ca-cert.pem").write_bytes(((trust or self).root / "ca-cert.pem").read_bytes())
        if dn:
            usage = usage or f"tls_www_{endpoint}"
            info = directory / "info"
            info.write_text(f'dn = "{dn}"\nsigning_key\n{usage}\n' + "\n".join(lines) + "\n")
            self._key(directory / f"{endpoint}-key.pem")
            certtool("--generate-certificate", "--load-ca-certificate", f"{self.root}/ca-cert.pem",
                     "--load-ca-privkey", f"{self.root}/ca-key.pem",
                     "--load-privkey", f"{directory}/{endpoint}-key.pem", "--template", str(info),
                     "--outfile", f"{directory}/{endpoint}-cert.pem")
        return str(directory)


class Sides:
    """What most tests need: a server, a client, and clients that should not be let in."""

    def __init__(self, root: pathlib.Path) -> None:
        ca = Authority(root / "ca")
        other = Authority(root / "other", "Other CA")
        self.server = ca.side("server", "server", 'dns_name = "dst.example.org"',
                              'ip_address = "127.0.0.1"', "expiration_days = 9",
                              dn="CN=dst.example.org,O=Lab,C=DE")
        self.client = ca.side("client", "client", "expiration_days = 9",
                              dn="CN=src.example.org,O=Lab,C=DE")
        self.bare = ca.side("bare", "client")
        self.foreign = other.side("foreign", "client", "expiration_days = 9", dn="CN=thief",
                                  trust=ca)
        self.stranger = ca.side("stranger", "server", 'dns_name = "other.example.org"',
                                "expiration_days = 9", dn="CN=other.example.org")
        for side, key in (("server", PSK), ("client", PSK), ("bare", PSK[::-1])):
            pathlib.Path(getattr(self, side), "keys.psk").write_text(f"qemu:{key}\n")

    identity = "C=DE,O=Lab,CN=src.example.org"


def use_tls(vm, qom_type: str, tls_id: str = "tls0", hostname: str | None = None,
            authz: str | None = None, **props) -> None:
    """Make credentials and let migrations use them."""
    vm.cmd("object-add", qom_type=qom_type, id=tls_id, **props)
    params = {"tls_creds": tls_id}
    if hostname is not None:
        params["tls_hostname"] = hostname
    if authz is not None:
        params["tls_authz"] = authz
    vm.cmd("migrate-set-parameters", **params)
