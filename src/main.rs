//! The `rmx` command: everything is in the library, see [`rmx::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    rmx::cli::main()
}
