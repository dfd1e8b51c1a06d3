"""The files of cluster/ that cannot be run here: held against the schemas of what reads them, and each other."""

import json
import re
import subprocess
import tomllib
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
import yaml

from realfake import resources
from realfake.arrival import places
from realfake.packing import Node

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"
FIELDS = json.loads((Path(__file__).parent / "data/kuberay_fields.json").read_text())
LAUNCHERS = ("aws.yaml", "onprem.yaml")
KUBERAY = ("kuberay-cluster.yaml", "kuberay-job.yaml")
RAY = re.search(r"^ARG RAY=(.+)$", (CLUSTER / "Dockerfile").read_text(), re.M)[1]


def documents(name):
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def source(package, *paths):
    """The text of files of an installed package: read, not run, since importing a command takes long."""
    return "".join((Path(find_spec(package).origin).parent / path).read_text() for path in paths)


def ray_clusters():
    """Every RayClusterSpec, by the file that holds it."""
    for name in KUBERAY:
        for document in documents(name):
            if document["kind"] in ("RayCluster", "RayJob"):
                yield name, document["spec"].get("rayClusterSpec", document["spec"])


# ------------------------------------------------------------------------------------------------------- Ray's launcher


@pytest.mark.parametrize("name", LAUNCHERS)
def test_the_launcher_takes_its_files_and_they_name_nothing_that_it_does_not_know(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents(name)
    validate_config(prepare_config(config))  # the dry part of `ray up`: defaults filled in, nothing launched
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config({**config, "no_such_key": 1}))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launched_head_wants_a_token_and_listens_on_itself_alone(name):
    (config,) = documents(name)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    start = config["head_start_ray_commands"][-1]
    assert "--dashboard-host=127.0.0.1" in start
    assert not any("0.0.0.0" in command for command in config["head_start_ray_commands"])


def test_the_shared_where_file_fits_on_two_nodes_of_the_launched_kind():
    where = resources.read(CLUSTER / "shared.toml")
    (config,) = documents("aws.yaml")
    node = config["available_node_types"]["gpu"]
    assert node["resources"]["CPU"] * 2 == where.cluster.cpus
    assert node["resources"]["GPU"] * 2 == where.cluster.gpus
    assert node["max_workers"] >= 2
    free = [{"CPU": node["resources"]["CPU"], "GPU": node["resources"]["GPU"]} for _ in range(2)]
    for place in sorted(places(resources.shares(where, [Node(cpus=4, gpus=1)] * 2)), key=lambda p: -p.get("GPU", 0)):
        fits = next(n for n in free if all(n[what] >= amount - 1e-9 for what, amount in place.items()))
        for what, amount in place.items():
            fits[what] -= amount


# -------------------------------------------------------------------------------------------------------------- KubeRay


@pytest.mark.parametrize("name", KUBERAY)
def test_kubernetes_takes_its_own_parts(name):
    validate = pytest.importorskip("kubernetes_validate", reason="checks manifests: uv sync").validate
    checked = 0
    for document in documents(name):
        if document["apiVersion"] == "v1":
            validate(document, "1.34", strict=True)
            checked += 1
    for holder, spec in ray_clusters():
        for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]] if holder == name else []:
            validate({"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}, "1.34", strict=True)
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_knows_every_field(name):
    for document in documents(name):
        if document["apiVersion"] == "ray.io/v1":
            assert set(document["spec"]) <= set(FIELDS[f"{document['kind']}Spec"])
    for holder, spec in ray_clusters():
        if holder == name:
            assert set(spec) <= set(FIELDS["RayClusterSpec"])
            assert set(spec["authOptions"]) <= set(FIELDS["AuthOptions"])
            assert set(spec.get("autoscalerOptions", {})) <= set(FIELDS["AutoscalerOptions"])
            assert set(spec["headGroupSpec"]) <= set(FIELDS["HeadGroupSpec"])
            assert all(set(group) <= set(FIELDS["WorkerGroupSpec"]) for group in spec["workerGroupSpecs"])


def test_pods_want_a_token_have_no_root_and_their_workers_a_gpu():
    found = list(ray_clusters())
    assert [name for name, _ in found] == list(KUBERAY)
    for _, spec in found:
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
        groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
        for group in groups:
            assert all(isinstance(value, str) for value in group["rayStartParams"].values())
            assert group["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
            mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
            assert {"name": "shared", "mountPath": "/shared"} in mounts
        (worker,) = spec["workerGroupSpecs"]
        limits = worker["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == "1"
    job = documents("kuberay-job.yaml")[0]["spec"]
    assert job["submissionMode"] in FIELDS["JobSubmissionMode"]
    assert job["entrypoint"] == "python -m realfake.arrival /study/study.py /study/where.toml"


# ------------------------------------------------------------------------------------------------------ MLflow's server


def compose():
    return yaml.safe_load((CLUSTER / "mlflow/compose.yaml").read_text())


def test_compose_takes_its_file():
    pytest.importorskip("check_jsonschema", reason="brings the schema of Compose: uv sync")
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    checker = jsonschema.validators.validator_for(schema)(schema)
    checker.validate(compose())
    broken = compose()
    broken["services"]["mlflow"]["port"] = 5000
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(broken)


def test_only_mlflow_can_be_reached_and_by_default_from_this_machine_alone():
    services = compose()["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"mlflow"}
    assert services["mlflow"]["ports"] == ["${MLFLOW_BIND:-127.0.0.1}:5000:5000"]
    assert compose()["networks"]["inside"] == {"internal": True}
    assert all(service["networks"] == ["inside"] for name, service in services.items() if name != "mlflow")


def test_no_password_is_in_the_file_and_none_has_a_default():
    text = (CLUSTER / "mlflow/compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?\}", text))
    assert asked == {"POSTGRES_PASSWORD", "MINIO_PASSWORD"}
    example = dict(
        line.split("=", 1) for line in (CLUSTER / "mlflow/example.env").read_text().splitlines() if line[0] != "#"
    )
    assert example == dict.fromkeys(asked, "")
    assert ".env" in (CLUSTER / "mlflow/.gitignore").read_text().split()


def test_mlflow_knows_its_options_and_the_version_is_one_that_we_allow():
    text = source("mlflow", "cli/__init__.py", "utils/cli_args.py", "environment_variables.py")
    mlflow = compose()["services"]["mlflow"]
    variables = {name for name in mlflow["environment"] if re.match("MLFLOW_(BACKEND|ARTIFACTS|SERVER)", name)}
    options = set(re.findall(r"--[a-z-]+", mlflow["command"]))
    assert len(variables) == 3
    assert len(options) == 3
    assert all(f'"{name}"' in text for name in (*variables, *options))
    assert "mlflow==3." in mlflow["build"]["dockerfile_inline"]


# ----------------------------------------------------------------------------------------------------- the image, Slurm


def test_one_version_of_ray_everywhere_and_one_that_we_allow():
    assert {spec["rayVersion"] for _, spec in ray_clusters()} == {RAY}
    wanted = next(
        d for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] if "ray[" in d
    )
    lowest = re.search(r">=(\d+)\.(\d+)", wanted)
    assert tuple(map(int, RAY.split(".")[:2])) >= tuple(map(int, lowest.groups()))


def test_the_image_copies_what_is_there_and_its_context_lets_it_through():
    text = (CLUSTER / "Dockerfile").read_text()
    copied = [source for line in re.findall(r"^COPY (?:--\S+ )*(.+)$", text, re.M) for source in line.split()[:-1]]
    through = [
        line[1:] for line in (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert sorted(copied) == sorted(through)
    assert all((ROOT / source).exists() for source in copied if source != "uv.lock")  # `uv lock` makes that one
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV"}
    assert {line.split()[0] for line in re.sub(r"\\\n", " ", text).splitlines() if line and line[0] != "#"} <= known


def test_slurms_script_is_bash_with_a_token_and_options_that_ray_knows():
    path = CLUSTER / "slurm.sh"
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert "export RAY_AUTH_MODE=token" in text
    command = re.sub(r"\\\n", " ", text[text.index("ray symmetric-run") :]).split(" -- ")[0]
    known = source("ray", "scripts/scripts.py", "scripts/symmetric_run.py")
    options = set(re.findall(r"--[a-z-]+", command))
    assert len(options) == 4
    assert all(f'"{option}"' in known for option in options)
    assert "RAY_AUTH_TOKEN=" not in text


def test_a_missing_study_ends_slurms_script_with_what_to_type():
    done = subprocess.run(["bash", str(CLUSTER / "slurm.sh")], env={"PATH": "/bin"}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "say which study: STUDY=" in done.stderr


def test_the_page_names_every_file_and_every_file_is_there():
    page = (CLUSTER / "README.md").read_text()
    named = set(re.findall(r"`([\w-]+\.(?:toml|yaml|sh)|Dockerfile|mlflow/)`", page))
    there = {p.name + ("/" if p.is_dir() else "") for p in CLUSTER.iterdir()} - {"README.md", "Dockerfile.dockerignore"}
    assert there <= named
