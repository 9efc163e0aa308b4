"""Certificates for tests, made with the openssl command."""
import os
import subprocess

CLUSTER_NAME = "octet-cluster"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Certificate:
    """The files NAME.pem and NAME.key of a folder."""

    def __init__(self, folder, name):
        self.pem = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"

    @property
    def pem_bytes(self):
        return self.pem.read_bytes()

    @property
    def key_bytes(self):
        return self.key.read_bytes()


class Authority(Certificate):
    def __init__(self, folder, name="ca"):
        super().__init__(folder, name)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.pem)

    def issue(self, name, dns=("localhost", CLUSTER_NAME)):
        """For a server or a client at 127.0.0.1; replaces one of that name in one step, key first."""
        made = Certificate(self.folder, name)
        new = Certificate(self.folder, f"{name}-new")
        request = self.folder / f"{name}.csr"
        names = self.folder / f"{name}.ext"
        names.write_text("subjectAltName=IP:127.0.0.1" + "".join(f",DNS:{entry}" for entry in dns) + "\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", new.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial", "-days", 30,
                "-extfile", names, "-out", new.pem)
        os.replace(new.key, made.key)
        os.replace(new.pem, made.pem)
        return made


def cluster_flags(authority, certificate):
    return ["--cluster-ca", authority.pem, "--cluster-cert", certificate.pem, "--cluster-key", certificate.key]


def tls_flags(certificate, client_ca=None):
    flags = ["--tls-cert", certificate.pem, "--tls-key", certificate.key]
    return flags + (["--tls-client-ca", client_ca.pem] if client_ca else [])
