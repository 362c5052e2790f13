from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from img2pose.geometry import (
    euler_to_matrix,
    geodesic_angle,
    matrix_to_quaternion,
    matrix_to_rotvec,
    multiply_quaternions,
    pose_to_euler,
    quaternion_to_rotvec,
    rotvec_to_matrix,
    rotvec_to_quaternion,
)

# Magnitudes on purpose near zero and near pi, where the formulas change branch.
ANGLES = st.one_of(
    st.floats(0, math.pi),
    st.floats(0, 1e-7),
    st.floats(math.pi - 1e-7, math.pi),
    st.sampled_from([0.0, 1e-3, 1e-4, 1e-10, math.pi / 2, math.pi - 1e-9]),
)


@st.composite
def rotvecs(draw: st.DrawFn) -> np.ndarray:
    axis = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 3)))
    norm = np.linalg.norm(axis)
    axis = axis / norm if norm > 1e-3 else np.array([0.0, 0.0, 1.0])
    return axis * draw(ANGLES)


@given(rotvecs())
@settings(max_examples=300, deadline=None)
def test_matrix_agrees_with_scipy_and_is_a_rotation(rotvec: np.ndarray) -> None:
    matrix = rotvec_to_matrix(rotvec)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


@given(rotvecs())
@settings(max_examples=300, deadline=None)
def test_logarithm_inverts_exponential(rotvec: np.ndarray) -> None:
    back = matrix_to_rotvec(rotvec_to_matrix(rotvec))
    if np.linalg.norm(rotvec) > math.pi - 1e-6 and back @ rotvec < 0:
        back = -back  # at pi both signs mean the same rotation
        np.testing.assert_allclose(back, rotvec, atol=1e-5)
    else:
        np.testing.assert_allclose(back, rotvec, atol=1e-9)


@given(rotvecs(), rotvecs())
@settings(max_examples=200, deadline=None)
def test_geodesic_angle_is_a_metric_and_agrees_with_scipy(a: np.ndarray, b: np.ndarray) -> None:
    first, second = rotvec_to_matrix(a), rotvec_to_matrix(b)
    angle = geodesic_angle(first, second)
    expected = (Rotation.from_rotvec(a).inv() * Rotation.from_rotvec(b)).magnitude()
    assert angle == pytest.approx(expected, abs=1e-7)
    assert angle == pytest.approx(geodesic_angle(second, first), abs=1e-7)
    assert geodesic_angle(first, first) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3)])
def test_batch_shapes_and_types_come_back(shape: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.float64):
        array = np.full(shape, 0.3, dtype=dtype)
        matrices = rotvec_to_matrix(array)
        assert isinstance(matrices, np.ndarray)
        assert matrices.dtype == dtype
        assert matrices.shape == (*shape[:-1], 3, 3)
        assert matrix_to_quaternion(matrices).shape == (*shape[:-1], 4)
        assert matrix_to_rotvec(matrices).shape == shape
    tensor = torch.full(shape, 0.3)
    assert isinstance(rotvec_to_matrix(tensor), torch.Tensor)


def test_lists_and_integers_become_float64() -> None:
    assert rotvec_to_matrix([0, 0, 0]).dtype == np.float64


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    matrix = rotvec_to_matrix(np.array([0, 0, math.pi / 2]))
    np.testing.assert_allclose(matrix @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_quaternion_of_half_turns_covers_every_branch() -> None:
    for axis in np.eye(3):
        quaternion = matrix_to_quaternion(rotvec_to_matrix(axis * math.pi))
        np.testing.assert_allclose(np.abs(quaternion[:3]), axis, atol=1e-12)
    np.testing.assert_allclose(matrix_to_quaternion(np.eye(3)), [0, 0, 0, 1])


def test_either_sign_of_a_quaternion_is_the_same_rotation() -> None:
    quaternion = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_quat()
    np.testing.assert_allclose(quaternion_to_rotvec(-quaternion), [0.3, -0.2, 0.9], atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1e-3, 0.5, 3.0, math.pi - 1e-4])
@pytest.mark.parametrize("axis", [(1.0, 0, 0), (0, 0.6, 0.8), (0.57735026, 0.57735026, 0.57735027)])
def test_gradients_are_right_near_identity_and_pi(
    angle: float, axis: tuple[float, float, float]
) -> None:
    rotvec = (torch.tensor(axis, dtype=torch.float64) * angle).requires_grad_()
    torch.autograd.gradcheck(rotvec_to_matrix, (rotvec,), eps=1e-6, atol=1e-5)

    def there_and_back(vector: torch.Tensor) -> torch.Tensor:
        return matrix_to_rotvec(rotvec_to_matrix(vector))

    jacobian = torch.autograd.functional.jacobian(there_and_back, rotvec)
    np.testing.assert_allclose(jacobian, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("angle", [1e-20, 1e-8, 1e-5, 1e-3, 3e-2, 0.5, 3.0])
def test_float32_gradients_are_those_of_float64(angle: float) -> None:
    def there_and_back(vector: torch.Tensor) -> torch.Tensor:
        return quaternion_to_rotvec(rotvec_to_quaternion(vector))

    axis = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    for function in (rotvec_to_matrix, rotvec_to_quaternion, there_and_back):
        exact = torch.autograd.functional.jacobian(function, axis * angle)
        found = torch.autograd.functional.jacobian(function, (axis * angle).float())
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=3e-6)


@given(rotvecs(), rotvecs())
@settings(max_examples=100, deadline=None)
def test_quaternions_multiply_as_matrices_do(a: np.ndarray, b: np.ndarray) -> None:
    product = multiply_quaternions(rotvec_to_quaternion(a), rotvec_to_quaternion(b))
    expected = rotvec_to_matrix(a) @ rotvec_to_matrix(b)
    np.testing.assert_allclose(Rotation.from_quat(product).as_matrix(), expected, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(product), 1, atol=1e-12)


def test_quaternions_broadcast() -> None:
    quarter = rotvec_to_quaternion(np.array([0, 0, math.pi / 2]))
    several = rotvec_to_quaternion(np.array([[0, 0, 0.1], [0, 0, 0.2]]))
    angles = quaternion_to_rotvec(multiply_quaternions(quarter, several))[:, 2]
    np.testing.assert_allclose(angles, math.pi / 2 + np.array([0.1, 0.2]), atol=1e-12)


def test_float32_gradient_is_finite_at_zero() -> None:
    rotvec = torch.zeros(4, 3, requires_grad=True)
    matrix_to_rotvec(rotvec_to_matrix(rotvec)).sum().backward()
    assert torch.isfinite(rotvec.grad).all()


def test_euler_of_single_turns() -> None:
    pitch, yaw, roll = pose_to_euler(np.array([math.radians(20), 0, 0, 0, 0, 1]))
    assert (pitch, yaw, roll) == pytest.approx((-20, 0, 0))
    pitch, yaw, roll = pose_to_euler(np.array([0, math.radians(20), 0, 0, 0, 1]))
    assert (pitch, yaw, roll) == pytest.approx((0, 20, 0))
    pitch, yaw, roll = pose_to_euler(np.array([0, 0, math.radians(20), 0, 0, 1]))
    assert (pitch, yaw, roll) == pytest.approx((0, 0, 20))


@given(rotvecs())
@settings(max_examples=200, deadline=None)
def test_euler_agrees_with_its_definition(rotvec: np.ndarray) -> None:
    matrix = Rotation.from_rotvec(rotvec).as_matrix()
    pitch, yaw, roll = pose_to_euler(np.concatenate([rotvec, [0, 0, 1]]))
    rebuilt = Rotation.from_euler("xyz", [pitch, -yaw, -roll], degrees=True).as_matrix().T
    np.testing.assert_allclose(rebuilt, matrix, atol=1e-6)


@given(rotvecs())
@settings(max_examples=200, deadline=None)
def test_angles_give_their_rotation_back(rotvec: np.ndarray) -> None:
    angles_deg = pose_to_euler(np.concatenate([rotvec, [0, 0, 1]]))
    matrix = euler_to_matrix(angles_deg)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-6)


def test_matrices_of_a_batch_of_angles() -> None:
    angles_deg = np.random.default_rng(0).uniform(-80, 80, (2, 5, 3))
    matrices = euler_to_matrix(angles_deg)
    assert matrices.shape == (2, 5, 3, 3)
    flipped = (angles_deg * [1, -1, -1]).reshape(-1, 3)
    expected = Rotation.from_euler("xyz", flipped, degrees=True).as_matrix().mT
    np.testing.assert_allclose(matrices.reshape(-1, 3, 3), expected, atol=1e-12)


def test_unknown_convention_is_refused() -> None:
    for function, argument in ((pose_to_euler, np.zeros(6)), (euler_to_matrix, np.zeros(3))):
        with pytest.raises(ValueError, match="aflw2000"):
            function(argument, "tait")


def test_golden_euler(shared: Path) -> None:
    golden = np.load(shared / "golden" / "euler.npz")
    poses = np.concatenate([golden["rotvec"], np.zeros_like(golden["rotvec"])], axis=1)
    np.testing.assert_allclose(pose_to_euler(poses), golden["pitch_yaw_roll_deg"], atol=1e-9)
