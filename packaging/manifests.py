"""What the packaging tests share: their tools, the committed files, and the schemas of Kubernetes and the Prometheus Operator."""

import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".peers" / "packaging"
# The oldest version whose schemas every manifest must satisfy, and the newest.
KUBERNETES = ["1.33", "1.37"]
OPERATOR = TOOLS / "node" / "node_modules" / "@kubernetes-models" / "prometheus-operator"


def with_tools(*names):
    """Fetches the tools and continues this program with their Python."""
    if os.environ.get("VGX_PACKAGING_TOOLS") == str(TOOLS):
        return
    subprocess.run([ROOT / "packaging" / "tools", "python", *names], check=True)
    python = TOOLS / "python" / "bin" / "python"
    os.environ["VGX_PACKAGING_TOOLS"] = str(TOOLS)
    os.execv(python, [python, *sys.argv])


class Report:
    """Collects what is wrong, so that one run shows everything."""

    def __init__(self):
        self.failures = []
        self.checks = 0

    def check(self, holds, text):
        self.checks += 1
        if not holds:
            self.failures.append(text)
            print(f"FAILED {text}", file=sys.stderr)
        return holds

    def end(self, name):
        if self.failures:
            sys.exit(f"{name}: {len(self.failures)} of {self.checks} checks failed")
        print(f"{self.checks} checks")
        print(f"{name} ok")


@contextlib.contextmanager
def quiet():
    """Hides what Helm's engine writes by itself: a line for each symbolic link. Errors are exceptions."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def read_yaml(text):
    """The documents of a text; a key that is there twice is an error, as it is for a strict API server."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader, node, deep=False):
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"the key {key} is there twice, line {node.start_mark.line + 1}")
        return yaml.SafeLoader.construct_mapping(loader, node, deep)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda l, n: mapping(l, n, True))
    # A PrometheusRule may compare with the text `=`.
    Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: str(node.value))
    return [document for document in yaml.load_all(text, Loader=Loader) if document]


@functools.cache
def rule_groups():
    """The committed groups of rules, in the order of the files' names."""
    files = sorted((ROOT / "config" / "rules").glob("*.yml"))
    groups = [group for file in files for document in read_yaml(file.read_text()) for group in document["groups"]]
    assert len(files) >= 2 and len(groups) >= 5, "no committed rules were found"
    return groups


@functools.cache
def dashboards():
    """The committed dashboards: name of the file and text."""
    files = {file.name: file.read_text() for file in sorted((ROOT / "dashboards").glob("*.json"))}
    assert len(files) >= 5, "no committed dashboards were found"
    return files


def name_of(manifest):
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def validate(manifests):
    """What is wrong with manifests, by the schemas of Kubernetes and of the operator; unknown keys are wrong."""
    is_operators = lambda manifest: manifest["apiVersion"].startswith("monitoring.coreos.com/")
    problems = []
    for manifest in manifests:
        if not is_operators(manifest):
            problems += [problem for version in KUBERNETES for problem in kubernetes_problems(manifest, version)]
    problems += operator_problems([manifest for manifest in manifests if is_operators(manifest)])
    return problems


def kubernetes_problems(manifest, version):
    import kubernetes_validate
    from kubernetes_validate import utils

    if not hasattr(utils.schema_contents, "cache_info"):
        # The definitions are 4 MB, read again for every manifest.
        utils.schema_contents = functools.cache(utils.schema_contents)
    try:
        used = utils.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(map(str, error.path))
        return [f"{name_of(manifest)}: Kubernetes {version}: {path}: {error.message}"]
    except utils.SchemaNotFoundError as error:
        return [f"{name_of(manifest)}: {error.message}"]
    return [] if used == version else [f"{name_of(manifest)}: no schemas of Kubernetes {version}, only of {used}"]


# The models refuse wrong types, formats and missing keys, but not unknown keys.
VALIDATE = """
import { readFileSync } from 'node:fs'
const models = await import(process.argv[1])
const problems = JSON.parse(readFileSync(0)).map((manifest) => {
  if (!models[manifest.kind]) return `there is no kind ${manifest.kind}`
  try { new models[manifest.kind](manifest).validate() } catch (error) { return error.message }
})
console.log(JSON.stringify(problems))
"""


def operator_problems(manifests):
    if not manifests:
        return []
    models = OPERATOR / "monitoring.coreos.com" / "v1" / "index.js"
    command = ["node", "--input-type=module", "-e", VALIDATE, str(models)]
    answer = subprocess.run(command, input=json.dumps(manifests), text=True, capture_output=True)
    if answer.returncode != 0:
        sys.exit(f"the schemas of the Prometheus Operator cannot be used:\n{answer.stderr}")
    problems = []
    for manifest, problem in zip(manifests, json.loads(answer.stdout), strict=True):
        if problem:
            problems.append(f"{name_of(manifest)}: {problem}")
        path = models.with_name(f"{manifest['kind']}.d.ts")
        problems += [f"{name_of(manifest)}: unknown key {key}" for key in unknown_keys(manifest, path)]
    return problems


@functools.cache
def declared_keys(path):
    """The keys of an interface in a TypeScript declaration, each with the declaration of its value, or None if that is a plain one."""
    if not path.is_file():
        return None
    text = path.read_text()
    interface = re.search(rf"^export interface I{path.name[:-5]}(?: extends ([^{{]+))? \{{\n(.*?)^\}}", text, re.M | re.S)
    if not interface:
        return None
    imports = {}
    for types, source in re.findall(r'^import \{ ([^}]+) \} from "([^"]+)"', text, re.M):
        for kind in types.split(", "):
            base = path.parent / source if source.startswith(".") else OPERATOR.parent.parent / source
            imports[kind] = base.with_name(base.name.removesuffix(".js") + ".d.ts")
    keys = {}
    for parent in (interface[1] or "").split(", "):
        if parent in imports:
            keys |= declared_keys(imports[parent]) or {}
    for key, kind in re.findall(r'^ {4}"([^"]+)"\??: (.+?);?$', interface[2], re.M):
        keys[key] = imports.get(re.sub(r"^Array<(.+)>$", r"\1", kind))
    return keys


def unknown_keys(value, path, at=""):
    if isinstance(value, list):
        return [key for index, item in enumerate(value) for key in unknown_keys(item, path, f"{at}[{index}]")]
    keys = declared_keys(path) if path else None
    if not isinstance(value, dict) or keys is None:
        return []
    found = [f"{at}.{key}" for key in value if key not in keys]
    return found + [key for name, item in value.items() if name in keys for key in unknown_keys(item, keys[name], f"{at}.{name}")]


def promtool():
    """promtool of tests/peers or of PATH; None without it."""
    own = ROOT / ".peers" / "usr" / "bin" / "promtool"
    if own.exists():
        return str(own)
    found = subprocess.run(["sh", "-c", "command -v promtool"], capture_output=True, text=True).stdout.strip()
    return found or None


def check_rules(groups):
    """What promtool says against groups of rules; None when it says nothing or is not there."""
    if not promtool():
        print("SKIPPED: promtool check rules, because promtool is neither in .peers/usr/bin (tests/peers fetches it) nor on PATH")
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        # JSON is YAML.
        json.dump({"groups": groups}, file)
        file.flush()
        answer = subprocess.run([promtool(), "check", "rules", file.name], capture_output=True, text=True)
    return None if answer.returncode == 0 else answer.stdout + answer.stderr


@functools.cache
def program():
    """The exporter, by the environment variable VGX_BINARY; None without it."""
    path = os.environ.get("VGX_BINARY")
    if not path:
        print("SKIPPED: checks with the exporter itself; give it as VGX_BINARY=target/debug/videogen-exporter")
        return None
    if not os.access(path, os.X_OK):
        sys.exit(f"VGX_BINARY={path}: there is no such program")
    return str(pathlib.Path(path).resolve())


def check_configuration(files, arguments, variables=()):
    """What `check` says against configuration files.

    `files` are names and texts. Files that a configuration names in its folder `secrets` are made, and so are the environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "secrets").mkdir()
        for name, text in files.items():
            # The folder of the image does not exist here.
            text = text.replace("/etc/videogen-exporter/", f"{folder}/")
            (folder / name).write_text(text)
            for secret in re.findall(r"\bsecrets/([-.\w]+)", text):
                stand_in = folder / "secrets" / secret
                stand_in.write_text("0123456789abcdef0123456789abcdef")
                stand_in.chmod(0o440)
        environment = dict(os.environ) | {name: "0123456789abcdef0123456789abcdef" for name in variables}
        command = [program(), "check", f"--config.file={folder}/videogen-exporter.yml", *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    return None if answer.returncode == 0 else answer.stdout + answer.stderr
