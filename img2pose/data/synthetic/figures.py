"""A person from head to chest, made of parts in the head's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from img2pose.data.synthetic.accessories import (
    HATS,
    ear_parts,
    glasses_parts,
    hat_parts,
    mask_part,
)
from img2pose.data.synthetic.body import NECK_PIVOT, arm_parts, torso_parts
from img2pose.data.synthetic.hair import (
    HairStyle,
    beard_part,
    draw_hair_style,
    hair_parts,
    loose_strands,
    painted_hair,
)
from img2pose.data.synthetic.head_model import HeadModel
from img2pose.data.synthetic.identities import draw_person
from img2pose.data.synthetic.occluders import occluder_parts
from img2pose.data.synthetic.paint import eye_part, skin_part, teeth_part
from img2pose.data.synthetic.parts import Figure, Part


@dataclass(frozen=True)
class Wardrobe:
    """How often things are worn and held, each a share of faces.

    Attributes:
        glasses: Clear or dark.
        hats: Of any kind.
        masks: Over mouth and nose.
        occluders: Hands and things before the face.
        beards: 1 leaves them to the person, 0 takes them all off.
        hair: 1 leaves it to the person, 0 takes it all off.
    """

    glasses: float = 0.24
    hats: float = 0.18
    masks: float = 0.04
    occluders: float = 0.16
    beards: float = 1.0
    hair: float = 1.0


def make_figure(
    rng: np.random.Generator,
    model: HeadModel,
    body_rotation: np.ndarray,
    wardrobe: Wardrobe,
    *,
    coarse: bool = False,
    is_back: bool = False,
) -> tuple[Figure, np.ndarray]:
    """Draws a person and builds all that belongs to it.

    Args:
        rng: The only source of chance.
        model: Heads.
        body_rotation: (3, 3) of the body in the head's frame.
        wardrobe: What is worn how often.
        coarse: With few triangles, for small heads.
        is_back: The head is turned away, so its face needs no detail.

    Returns:
        The figure and the (68, 3) landmarks in the head's frame.
    """
    person = draw_person(rng, model)
    fine = person.shape(model.shape(person.identity, person.expression))
    mesh = model.coarse if coarse else model.fine
    vertices = fine[mesh.fine_indices]
    style = draw_hair_style(rng, person)
    if rng.uniform() >= wardrobe.hair:
        style = HairStyle(bald=True)
    skull = model.skull(fine)
    short_hair = painted_hair(mesh, person, style, rng)
    parts: list[Part] = [
        skin_part(mesh, vertices, person, rng, short_hair),
        eye_part(model, mesh, vertices, person, rng),
    ]
    lenses: list[Part] = []
    teeth = None if coarse or is_back else teeth_part(model, fine, person, rng)
    if teeth is not None:
        parts.append(teeth)
    hat = str(rng.choice(HATS)) if rng.uniform() < wardrobe.hats else ""
    if not hat or (style.length > 0.2 and hat not in ("scarf", "hood")):
        parts += hair_parts(skull, person, style, rng, coarse)
    if hat:
        parts += hat_parts(skull, rng, hat)
    if not coarse:
        if rng.uniform() < wardrobe.beards:
            beard = beard_part(model, fine, person, rng)
            if beard is not None:
                parts.append(beard)
        lock = loose_strands(person, style, rng)
        if lock is not None and not hat:
            parts.append(lock)
        if rng.uniform() < 0.14:
            parts += ear_parts(model, fine, rng)
    if rng.uniform() < wardrobe.glasses:
        frames, glass = glasses_parts(model, fine, rng)
        parts += frames
        lenses += glass
    if rng.uniform() < wardrobe.masks:
        parts.append(mask_part(model, fine, rng))
    body = torso_parts(person, rng, coarse)
    if rng.uniform() < (0.25 if coarse else 0.6):
        body += arm_parts(person, rng)
    shift = NECK_PIVOT - body_rotation @ NECK_PIVOT
    parts += [part.moved(body_rotation, shift) for part in body]
    if rng.uniform() < wardrobe.occluders:
        parts += occluder_parts(person, rng)
    return Figure(tuple(parts), tuple(lenses)), fine[model.landmark_indices]
