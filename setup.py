"""Installation of msdkit; tools are configured in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

FIGURES = ["kaleido>=1"]
DEMO = ["resvg-py>=0.1"]
SWEEP = ["optuna>=5"]
HDF5 = ["h5py>=3.8"]
DOCS = ["sphinx>=8", "myst-nb>=1.2", "furo>=2024.8", "sphinx-copybutton>=0.5", "ipykernel>=6"]
DEV = ["pytest>=8", "pytest-xdist>=3", "hypothesis>=6", "ruff>=0.5", "mypy>=1.10"]
DEV += ["lmdb>=1.4", "resvg-py>=0.1", "torchdistill>=1.1", "tensorboard>=2.14", "selenium>=4.11"]
DEV += [*HDF5, *FIGURES, *SWEEP, *DOCS]

setup(
    name="msdkit",
    version="0.1.0",
    description="Compress multimodal classifiers by modality-specific knowledge distillation",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["msdkit", "msdkit.*"]),
    package_data={"msdkit": ["py.typed"], "msdkit.report": ["assets/*"]},
    install_requires=[
        "torch>=2.5",
        "torchvision>=0.20",
        "transformers>=4.48",
        "tokenizers>=0.20",
        "accelerate>=1.0",
        "safetensors>=0.4.3",
        "torchmetrics>=1.4",
        "timm>=1.0",
        "omegaconf>=2.4.0",
        "pyyaml>=6",
        "pydantic>=2.7",
        "iopath>=0.1.10",
        "typer>=0.12",
        "rich>=13",
        "pillow>=10.1",
        "numpy>=1.26",
        "msgspec>=0.18",
        "plotly>=6",
        "jinja2>=3.1",
        "xxhash>=3",
        "pyarrow>=16.1",
    ],
    extras_require={
        "demo": DEMO,
        "hdf5": HDF5,
        "figures": FIGURES,
        "sweep": SWEEP,
        "docs": DOCS,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["msdkit = msdkit.cli:main"]},
)
