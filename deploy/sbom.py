#!/usr/bin/env python3
"""sbom.py VERSION EPOCH ROOT... - the software bill of materials, SPDX 2.3 JSON.

Each ROOT is a file system that rootfs.sh laid out: its programs, the weights, and
the Debian packages whose libraries the programs load or, from a -dev package, have
linked in.  Writes to stdout.
"""
import datetime
import hashlib
import json
import pathlib
import sys


def fields(text):
    """Those of a Debian control entry that stand on one line."""
    return dict(line.split(": ", 1) for line in text.splitlines()
                if ": " in line and not line.startswith(" "))


def debian_package(entry):
    control = fields(entry.read_text())
    name, version, architecture = (control[k] for k in ("Package", "Version", "Architecture"))
    source = control.get("Source", name).split()[0]
    return {
        "SPDXID": f"SPDXRef-deb-{name}", "name": name, "versionInfo": version,
        "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION", "sourceInfo": f"built from Debian's source package {source}",
        **({"homepage": control["Homepage"]} if "Homepage" in control else {}),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}"
                                f"?arch={architecture}&distro=bookworm"}],
    }


def own_file(path, name, version):
    """A program of ours, or the weights, as a package of one file."""
    content = path.read_bytes()
    return {
        "SPDXID": f"SPDXRef-{name}", "name": name, "versionInfo": version,
        "supplier": "NOASSERTION", "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "licenseConcluded": "MIT", "licenseDeclared": "MIT", "copyrightText": "NOASSERTION",
        "packageFileName": path.name,
        "checksums": [{"algorithm": "SHA256", "checksumValue": hashlib.sha256(content).hexdigest()}],
    }


def main():
    version, epoch, *roots = sys.argv[1:]
    packages, relations = {}, []

    def relate(a, kind, b):
        relations.append({"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b})

    for root in map(pathlib.Path, roots):
        program = next((root / "usr/bin").iterdir())
        own = own_file(program, program.name, version)
        packages[own["SPDXID"]] = own
        relate("SPDXRef-DOCUMENT", "DESCRIBES", own["SPDXID"])
        for weights in sorted((root / "usr/share/capsnetd").glob("*.safetensors")):
            data = own_file(weights, weights.stem, version)
            packages[data["SPDXID"]] = data
            relate(own["SPDXID"], "DEPENDS_ON", data["SPDXID"])
        for entry in sorted((root / "var/lib/dpkg/status.d").iterdir()):
            package = debian_package(entry)
            packages[package["SPDXID"]] = package
            linked = "STATIC_LINK" if package["name"].endswith("-dev") else "DYNAMIC_LINK"
            relate(own["SPDXID"], linked, package["SPDXID"])
    content = json.dumps(sorted(packages), sort_keys=True) + "".join(
        c["checksumValue"] for p in packages.values() for c in p.get("checksums", []))
    created = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    json.dump({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"capsnetd-{version}",
        # A name for this document, not an address: it must be unique, so it has the contents' digest.
        "documentNamespace": f"https://spdx.org/spdxdocs/capsnetd-{version}-"
                             f"{hashlib.sha256(content.encode()).hexdigest()[:32]}",
        "creationInfo": {"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": [f"Tool: capsnetd-sbom-{version}"]},
        "packages": list(packages.values()), "relationships": relations,
    }, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
