//! The only room that names `aws_sdk_*`: narrow async functions, SDK types inside, domain types outside.
