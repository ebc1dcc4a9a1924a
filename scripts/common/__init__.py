"""What the scripts share. None of it imports a script."""

import importlib.util
import os
import sys

# Before anything else is imported, so that this is said in one line and not by a traceback.
PACKAGES = ("numpy", "scipy", "PIL", "h5py", "tqdm", "keras", "tensorflow", "matplotlib")
if _missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
    print(
        f"error: {', '.join(_missing)} not installed here; run the scripts by make, or by "
        ".venv/bin/python, which make sets up",
        file=sys.stderr,
    )
    sys.exit(2)

# Models are read where others may write, and are never written in place: HDF5's locks would only
# keep them from being read, on file systems that have none, for example.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"

# pandas, which Keras and Streamlit import where it is installed, looks for a package of the
# name of one of the scripts, and would run it.
sys.modules.setdefault("bottleneck", None)
