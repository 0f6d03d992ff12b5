//! Lets the crate build before the web page has been: the folder that is embedded must exist.

use std::{fs, path::Path};

fn main() {
    let page = Path::new("playground/dist");
    fs::create_dir_all(page).expect("playground/dist can be created");
    // A page that was built later is embedded by the next build.
    println!("cargo::rerun-if-changed={}", page.display());
}
