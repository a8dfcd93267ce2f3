"""`helpers.clinic`: every fault shows in the view it should, and nothing gives it away."""

import math
import sys

import pytest
import torch

from helpers import clinic, diagnostics, widgets
from helpers.checks.lesson05 import FAULTS

torch.set_num_threads(1)

# The findings that must be out of range, each patient's leading one first.
SYMPTOMS = {
    1: ["log10 update:data", "loss after training"],
    2: ["highest saturated fraction", "std of the last activations"],
    3: ["loss before training", "loss after training"],
    4: ["loss after training", "log10 update:data"],
    5: ["running means off by (stds)"],
    6: ["std behind batchnorm", "gradient sums before batchnorm", "running means off by (stds)"],
    7: ["parameters without gradient"],
    8: ["gradient sums before batchnorm"],
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("number", SYMPTOMS)
def test_a_fault_shows_in_its_findings_and_in_no_other(number, seed):
    patient = clinic.patient(number, seed=seed)
    examination = clinic.examine(patient.model, patient.learning_rate, seed=seed)
    assert sorted(examination.unhealthy) == sorted(SYMPTOMS[number])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("batchnorm", [False, True])
def test_healthy_nets_are_healthy(batchnorm, seed):
    examination = clinic.examine(*clinic.healthy(batchnorm, seed), seed=seed)
    assert examination.unhealthy == []
    assert len(examination.findings) == (9 if batchnorm else 6)


def test_findings_are_what_torch_says_of_the_raw_tensors():
    patient = clinic.patient(2)
    examination = clinic.examine(patient.model, patient.learning_rate)
    contexts = clinic._splits().train.contexts[: clinic.EXAMPLES]
    h = patient.model[:-1](contexts)
    assert examination.findings["std of the last activations"] == pytest.approx(h.std().item())
    assert len(examination.tanhs) == 5
    assert len(examination.run.steps) == clinic.STEPS


def test_examining_leaves_the_model_as_it_was():
    patient = clinic.patient(6)
    before = {name: value.clone() for name, value in patient.model.state_dict().items()}
    clinic.examine(patient.model, patient.learning_rate)
    assert not patient.model.training
    for name, value in patient.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in patient.model.parameters())


@pytest.mark.parametrize("number", [3, 4, 8])  # far from healthy, without gradient, as healthy
def test_the_four_views_of_a_patient_are_a_small_picture(number, monkeypatch):
    patient = clinic.patient(number)
    examination = clinic.examine(patient.model, patient.learning_rate)
    weights = diagnostics.weight_statistics(examination.before)[1:]
    shown = []
    four_views = sys.modules[widgets.show_four_views.__module__]
    monkeypatch.setattr(four_views, "display", lambda bundle, raw: shown.append(bundle))
    widgets.show_four_views(examination.tanhs, weights, examination.run, "A patient")
    assert shown[0]["image/png"].startswith("iVBOR")
    assert len(shown[0]["image/png"]) < 60_000


def test_nan_and_infinity_are_not_healthy():
    record = clinic.Examination(None, None, {"log10 update:data": math.nan})
    assert record.unhealthy == ["log10 update:data"]
    record = clinic.Examination(None, None, {"log10 update:data": -math.inf})
    assert record.unhealthy == ["log10 update:data"]


def test_the_same_number_is_the_same_patient():
    one, two = clinic.patient(3), clinic.patient(3)
    assert one.model is not two.model
    torch.testing.assert_close(one.model.state_dict(), two.model.state_dict())


def test_there_is_no_ninth_patient():
    with pytest.raises(ValueError, match="patients 1 to 8"):
        clinic.patient(9)


def test_every_fault_has_a_name_to_choose_and_two_names_belong_to_nobody():
    faults = [name for name, _ in FAULTS.values()]
    assert len(set(faults)) == 8
    assert set(faults) < set(clinic.NAMES)
    assert len(clinic.NAMES) == 10


@pytest.mark.parametrize("number", SYMPTOMS)
def test_a_patient_does_not_name_its_fault(number):
    patient = clinic.patient(number)
    seen = f"{patient.complaint} {patient.model} {type(patient.model)}".lower()
    assert FAULTS[number][0] not in seen
    classes = {type(module).__name__ for module in patient.model.modules()}
    assert classes <= {"Sequential", "Embedding", "Flatten", "Linear", "BatchNorm1d", "Tanh"}
