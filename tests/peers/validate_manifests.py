"""Checks rendered manifests against Kubernetes' own schemas, and custom resources against their definitions.

    validate_manifests.py VERSION[,VERSION…] DEFINITIONS FILE…

Prints one line for each object that an API server of a version would refuse, unknown fields included, and
the number of objects checked. Ends with 1 if there was such a line.
"""

import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

# Of the Prometheus operator; nobody packages its definition.
WITHOUT_SCHEMA = {"PodMonitor"}


def documents(path):
    return [document for document in yaml.safe_load_all(Path(path).read_text()) if document]


def closed(schema):
    """The schema with unknown fields refused: an API server would drop them without a word."""
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) if key in ("items", "additionalProperties") else value for key, value in schema.items()}
    if "properties" in schema:
        schema["properties"] = {name: closed(inner) for name, inner in schema["properties"].items()}
        schema.setdefault("additionalProperties", False)
    return schema


def custom_schemas(folder):
    """The schema of each kind that the definitions in the folder define."""
    found = {}
    for path in sorted(Path(folder).glob("*.yaml")):
        for definition in documents(path):
            schema = closed(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            found[definition["spec"]["names"]["kind"]] = schema
    return found


def problem(document, version, custom):
    """What an API server of this version would say, or None."""
    try:
        if document["kind"] in custom:
            jsonschema.validate(document, custom[document["kind"]])
        else:
            kubernetes_validate.validate(document, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None


def main():
    versions, folder, *files = sys.argv[1:]
    custom = custom_schemas(folder)
    checked, refused = 0, 0
    for path in files:
        for document in documents(path):
            if document["kind"] in WITHOUT_SCHEMA:
                continue
            for version in versions.split(","):
                checked += 1
                text = problem(document, version, custom)
                if text:
                    refused += 1
                    name = document["metadata"]["name"]
                    print(f"{Path(path).name} {document['kind']}/{name} on {version}: {text}")
    print(f"checked {checked}")
    sys.exit(bool(refused))


main()
