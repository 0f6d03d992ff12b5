use std::process::ExitCode;

/// It gives back what a crowd has left, seconds later. The system's keeps all that was ever needed at
/// once, where the requests of a crowd have left small holes.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
