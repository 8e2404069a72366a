"""What SAM makes of template.yaml, as JSON. Runs in the SAM tool's own environment: `.tools/sam/bin/python`.

`sam deploy` lets AWS do the same with the same library: roles, policies, stages and permissions that the template does
not name are first seen here.
"""

import json
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

PARAMETERS = {"OmieBaseUrl": "https://omie.invalid/api/v1/", "JestorBaseUrl": "https://jestor.invalid"}


class _ManagedPolicies:
    """Names of AWS's own policies -> their ARN, as SAM would ask IAM for."""

    def load(self) -> dict[str, str]:
        return {}


def main() -> None:
    template = yaml_parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for found in template["Resources"].values():  # `sam package` writes where the code lies in S3
        for name in ("CodeUri", "ContentUri", "DefinitionUri"):
            if name in found.get("Properties", {}):
                found["Properties"][name] = "s3://bucket/key"
    json.dump(transform(template, PARAMETERS, _ManagedPolicies()), sys.stdout)


if __name__ == "__main__":
    main()
