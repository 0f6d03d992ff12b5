//! nginx and HAProxy, set up by docs/proxies.md.

use std::net::SocketAddr;

use tokio::process::Command;

use crate::{
    docs::pages::Page,
    support::installed::{Listening, free_ports, installed},
};

pub const PAGE: &str = "proxies.md";

/// The addresses that the recipes give their servers.
const SERVERS: [&str; 3] = ["10.0.0.11:8000", "10.0.0.12:8000", "10.0.0.13:8000"];

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Nginx,
    HaProxy,
}

impl Kind {
    /// By the recipe as it stands. `None`: it is not installed.
    pub async fn before(self, servers: [SocketAddr; 3]) -> Option<Listening> {
        self.changed_before(servers, |recipe| recipe).await
    }

    pub async fn changed_before(
        self,
        servers: [SocketAddr; 3],
        change: impl FnOnce(String) -> String,
    ) -> Option<Listening> {
        let program = installed(self.name())?;
        let [port] = free_ports();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let mut recipe = change(self.recipe());
        for (there, here) in SERVERS.iter().zip(servers) {
            recipe = replaced(&recipe, there, &here.to_string());
        }
        let file = folder.path().join("recipe.conf");
        let mut command = Command::new(program);
        let text = match self {
            Self::Nginx => {
                // Without its certificate, and within what a distribution's own file says.
                let recipe = replaced(
                    &recipe,
                    "listen 443 ssl;",
                    &format!("listen 127.0.0.1:{port};"),
                );
                let plain = recipe
                    .lines()
                    .filter(|line| !line.contains("ssl_certificate"));
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|what| format!("{what}_temp_path {path}/{what};\n"))
                    .concat();
                command
                    .args(["-e", "stderr", "-p"])
                    .arg(folder.path())
                    .arg("-c");
                format!(
                    "daemon off; master_process off; pid {path}/pid; error_log stderr;\n\
                     events {{ worker_connections 1024; }}\n\
                     http {{ access_log off;\n{temporary}{}\n}}\n",
                    plain.collect::<Vec<_>>().join("\n")
                )
            }
            Self::HaProxy => {
                command.args(["-db", "-f"]);
                let bind = "bind :443 ssl crt /etc/haproxy/chat.example.com.pem";
                replaced(&recipe, bind, &format!("bind 127.0.0.1:{port}"))
            }
        };
        std::fs::write(&file, text).expect("a file");
        command.arg(&file);
        Some(Listening::start(&mut command, port, folder).await)
    }

    /// Of the program, and of the language of its recipe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
        }
    }

    fn recipe(self) -> String {
        Page::read(PAGE).blocks(self.name()).concat()
    }
}

/// With one thing in it replaced that must be there.
pub fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old:?} is not in\n{text}");
    text.replace(old, new)
}
