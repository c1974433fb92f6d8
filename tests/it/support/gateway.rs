//! The real binary as a process: started with a file, asked over HTTP, stopped, killed, started again.
//!
//! Rule: every gateway has its own folder and ports, inherits no configuration from the environment, and ends with its
//! test.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A key that files in tests define.
pub(crate) const KEY: &str = "hx_p_abcdefghijklmnopqrstuvwxyz0123456789";

/// Far beyond every limit that the gateway sets itself at its end.
const LONGEST_END: Duration = Duration::from_secs(120);

/// A running `helixgateway`.
pub(crate) struct Gateway {
    child: Option<Child>,
    /// The folder it runs in: `gateway.yaml`, `helix-data`.
    pub(crate) folder: PathBuf,
    role: &'static str,
    /// The line it printed when it was ready.
    pub(crate) started: Value,
    stderr: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// Listeners on ports that the system chooses.
pub(crate) const ANY_PORT: &str =
    "server: { listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:0 }\n";

impl Gateway {
    /// Writes `yaml` (without `version` and `server`) into the folder and runs `serve` there until it is ready.
    pub(crate) fn serve(folder: &Path, yaml: &str) -> Self {
        write(folder, &format!("version: 1\n{ANY_PORT}{yaml}"));
        Self::start(folder, "serve")
    }

    /// Runs a role in a folder whose `gateway.yaml` is written already, until it is ready.
    pub(crate) fn start(folder: &Path, role: &'static str) -> Self {
        let mut gateway = Self {
            child: None,
            folder: folder.to_owned(),
            role,
            started: Value::Null,
            stderr: Arc::default(),
            readers: Vec::new(),
        };
        gateway.run();
        gateway
    }

    /// Starts it again after it was killed or stopped. Ports chosen by the system change.
    pub(crate) fn run(&mut self) {
        let mut child = command(&self.folder)
            .args([self.role, "--config", "gateway.yaml"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let errors = child.stderr.take().expect("stderr is piped");
        let log = Arc::clone(&self.stderr);
        self.readers.push(std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut log = log.lock().expect("the log is not poisoned");
                log.push_str(&line);
                log.push('\n');
            }
        }));
        let mut output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("stdout is readable");
        self.child = Some(child);
        self.started =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("not started: {line}\n{}", self.finish_and_read()));
        self.readers.push(std::thread::spawn(move || {
            let mut rest = String::new();
            drop(output.read_to_string(&mut rest));
        }));
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().expect("the log is not poisoned").clone()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// `http://…` of the clients' listener.
    pub(crate) fn url(&self) -> String {
        self.address("listen")
    }

    /// `http://…` of the operators' listener.
    pub(crate) fn ops_url(&self) -> String {
        self.address("opsListen")
    }

    /// `http://…` of the data planes' listener.
    pub(crate) fn plane_url(&self) -> String {
        self.address("planeListen")
    }

    fn address(&self, key: &str) -> String {
        format!("http://{}", self.started[key].as_str().unwrap_or_else(|| panic!("no {key} in {}", self.started)))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// SIGTERM, and waits for the orderly end. Returns whether it exited with 0.
    pub(crate) fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        signal(child.id(), "TERM");
        let asked_at = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("its state can be read") {
                return status.success();
            }
            if asked_at.elapsed() > LONGEST_END {
                self.child = Some(child);
                panic!("the gateway was asked to end and did not");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGHUP.
    pub(crate) fn reload(&self) {
        signal(self.pid(), "HUP");
    }

    /// Replaces the configuration file; it keeps its ports.
    pub(crate) fn write(&self, yaml: &str) {
        write(&self.folder, yaml);
    }

    /// Runs a command beside it, on the same folder and file. Answers are JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        command(&self.folder).args(arguments).output().expect("the binary runs")
    }

    /// Runs `ledger verify` and returns its JSON.
    pub(crate) fn verify(&self) -> Value {
        let output = self.command(&["ledger", "verify", "--config", "gateway.yaml"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Ends it, unless it has ended, and returns all that it wrote to standard error.
    pub(crate) fn finish_and_read(&mut self) -> String {
        self.kill();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
        self.log()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}", self.log());
        }
        self.kill();
    }
}

/// The binary in a folder, without anything of the environment that could configure it.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helixgateway"));
    command.current_dir(folder).env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn write(folder: &Path, yaml: &str) {
    // Renamed into place: a reader never sees half a file.
    let fresh = folder.join("gateway.yaml.new");
    std::fs::write(&fresh, yaml).expect("the folder is writable");
    std::fs::rename(&fresh, folder.join("gateway.yaml")).expect("the folder is writable");
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "SIG{name} to {pid}");
}
