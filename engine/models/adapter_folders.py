"""From an adapter's folder to the adapter, whichever format it has."""

import json
from pathlib import Path

from engine.errors import ModelNotFoundError, UnsupportedModelError
from engine.models import mlx_adapters, peft_adapters
from engine.models.adapters import Adapter
from engine.models.mlx_adapters import MlxAdapter
from engine.models.peft_adapters import PeftAdapter
from engine.models.weight_files import check_regular

CONFIG = "adapter_config.json"
HUB_FILES = [CONFIG, mlx_adapters.FILE, peft_adapters.FILE]


def open_adapter(folder: Path) -> Adapter:
    """Read an adapter's folder, of mlx-lm or of PEFT.

    Raises ModelNotFoundError that names what is missing, UnsupportedModelError for an adapter
    that cannot be merged exactly.
    """
    if not (folder / CONFIG).is_file():
        raise ModelNotFoundError(f"{folder} is not an adapter: {CONFIG} is missing")
    check_regular(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return (PeftAdapter if "peft_type" in config else MlxAdapter).read(folder, config)
    except (ModelNotFoundError, UnsupportedModelError):
        raise
    except Exception as reason:
        raise UnsupportedModelError(
            f"the adapter {folder} cannot be read: {type(reason).__name__}: {reason}"
        ) from reason
