"""Objects behind refs: a folder, memory, S3, GCS or R2, by URL."""

from __future__ import annotations

from cloudoffload.store.objects import ObjectStore, Usage, open_store

__all__ = ["ObjectStore", "Usage", "open_store"]
