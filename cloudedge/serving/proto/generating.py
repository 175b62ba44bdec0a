"""What protoc makes of `inference.proto`.

`python -m cloudedge.serving.proto.generating` writes it beside it; with `--check` it says what is out of date and ends with 1.

The messages are in a pool of their own: clients of the same protocol, such as Triton's, bring messages of the same names, and
one pool in a process takes each name once.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from cloudedge.interpreter import python

FOLDER = Path(__file__).parent
_MARK = "# ruff: noqa\n# fmt: off\n# mypy: disable-error-code=type-arg\n"


def generated() -> dict[str, str]:
    """Each file's name and text.

    Raises:
        subprocess.CalledProcessError: the messages cannot be understood.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = (f"--proto_path={FOLDER}", f"--python_out={folder}", f"--pyi_out={folder}", "inference.proto")
        subprocess.run(python("grpc_tools.protoc", *made), check=True)
        code, types = ((Path(folder) / f"inference_pb2{ending}").read_text() for ending in (".py", ".pyi"))
    own_pool = code.replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()")
    return {"inference_pb2.py": _MARK + own_pool, "inference_pb2.pyi": _MARK + types}


def main(arguments: list[str]) -> int:
    """Write the files, or check them.

    Args:
        arguments: `--check` or nothing.

    Returns:
        Exit code: 1 if a file is out of date.
    """
    for name, text in generated().items():
        path = FOLDER / name
        if arguments != ["--check"]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"{path} is out of date. Run `make protocols`.\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
