"""The sweep beside what it does in ``test_end_to_end``: what it keeps Tune from doing."""

from realfake import sweep


def test_tune_copies_no_credentials_into_what_ray_logs(monkeypatch):
    from ray.tune.execution import class_cache

    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", class_cache.ENV_VARS_TO_PROPAGATE)
    assert any(name.startswith("AWS_SECRET") for name in class_cache.ENV_VARS_TO_PROPAGATE)  # else this can go
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    sweep._keep_secrets()
    copied = []
    monkeypatch.setattr(class_cache.ray, "remote", lambda runtime_env: copied.append(runtime_env) or (lambda cls: cls))
    class_cache._ActorClassCache().get(object)
    assert copied
    assert "a-secret" not in str(copied)
    assert "RAY_CHDIR_TO_TRIAL_DIR" in class_cache.ENV_VARS_TO_PROPAGATE
