"""The JSON bodies of the gateway's requests and answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL = 1


class OrderBody(BaseModel):
    """An order to the silo."""

    id: str = Field(examples=["7b0c1a5e-9f0c-4a5e-8f52-0d9f3c1f9a11"])
    order: dict[str, Any] = Field(description="What to do, with the SHA-256 of each object to read for it.")


class GatewayFacts(BaseModel):
    """What the gateway tells a silo about itself and the silo."""

    protocol: int = Field(PROTOCOL, description="Newest protocol that the gateway speaks.")
    oldest_protocol: int = Field(PROTOCOL, description="Oldest protocol that it still speaks.")
    version: str = Field(description="The coordinator's version of fedrec.", examples=["0.1.0"])
    time: float = Field(description="The gateway's Unix time.")
    silo: str = Field(description="The silo's name here.", examples=["ash"])
    clock_offset_s: float = Field(description="Seconds by which the silo's clock is ahead.")
    max_object_bytes: int = Field(description="Largest object that is accepted.")


class Member(BaseModel):
    """A silo of the federation."""

    silo: str = Field(examples=["ash"])
    key_id: str = Field(examples=["9f86d081884c7d65"])
    public_key: str = Field(description="Ed25519, as PEM.")


class Roster(BaseModel):
    """The silos whose keys the coordinator trusts."""

    silos: list[Member]


class BundleFile(BaseModel):
    """A file of a promoted bundle."""

    name: str = Field(examples=["item_ids.npy"])
    sha256: str
    bytes: int


class PromotedModel(BaseModel):
    """The champion of a model, and the files to serve it from."""

    model_name: str = Field(examples=["towns"])
    bundle: str = Field(examples=["3-0f3b7a52c1d94e66"])
    manifest_sha256: str = Field(description="SHA-256 of bundle.json, which names all other files.")
    decision: dict[str, Any] = Field(description="Who promoted it, when and why, with the gates' results.")
    files: list[BundleFile]


class PromotedModels(BaseModel):
    """The models that the silo may serve."""

    models: list[PromotedModel]


class Accepted(BaseModel):
    """What the gateway keeps of an upload."""

    sha256: str
    bytes: int


class Failure(BaseModel):
    """Why a silo cannot do its order: the kind of error alone, because a message may name users."""

    model_config = ConfigDict(extra="forbid")
    error: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,63}$", examples=["EgressRefused"])


class Enrolment(BaseModel):
    """A silo's key, with the token of its invitation. The request is signed with this key."""

    model_config = ConfigDict(extra="forbid")
    silo: str = Field(max_length=128, examples=["ash"])
    public_key: str = Field(max_length=1000, description="Ed25519, as PEM.")
    token: str = Field(max_length=100)


class RefusalDetails(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(examples=["urn:fedrec:problem:replayed"])
    title: str
    status: int
    detail: str
