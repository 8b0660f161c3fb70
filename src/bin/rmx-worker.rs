//! `bootstrap` of the Lambda function: everything is in the library, see [`rmx::worker`].

use std::process::ExitCode;

fn main() -> ExitCode {
    rmx::worker::main()
}
