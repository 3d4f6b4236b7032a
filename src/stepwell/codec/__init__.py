"""Values, failures and large objects as JSON, and back."""

from stepwell.codec.annotations import resolve_annotations
from stepwell.codec.ciphers import AesGcm
from stepwell.codec.failures import exception_of, failure_of
from stepwell.codec.payloads import (
    MAX_PAYLOAD,
    SPILL_THRESHOLD,
    Cipher,
    Compression,
    blob_key,
    blob_ref,
    decrypt,
    escape,
    is_blob_ref,
    spill,
)
from stepwell.codec.values import Codec, Typed, typed

__all__ = [
    "MAX_PAYLOAD",
    "SPILL_THRESHOLD",
    "AesGcm",
    "Cipher",
    "Codec",
    "Compression",
    "Typed",
    "blob_key",
    "blob_ref",
    "decrypt",
    "escape",
    "exception_of",
    "failure_of",
    "is_blob_ref",
    "resolve_annotations",
    "spill",
    "typed",
]
