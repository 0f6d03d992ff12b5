use std::process::ExitCode;

fn main() -> ExitCode {
    // Everything that speaks TLS takes this one; without it the first handshake would panic.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("loquat: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    loquat::cli::main()
}
