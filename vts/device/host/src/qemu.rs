// SPDX-License-Identifier: Apache-2.0
//! The virtual machine.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use vts_init::plan::SHELL_FLAG;
use vts_init::report::REPORT_PORT;

use crate::command::command;
use crate::files;
use crate::kernel::Kernel;

/// Arguments of every kernel. `no_timer_check`: a busy host is late with timer interrupts, and the
/// kernel would take them for missing. `bdev_allow_write_mounted`: a test changes blocks of /data
/// beneath the file system, which a kernel without BLK_DEV_WRITE_MOUNTED refuses by default.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 no_timer_check bdev_allow_write_mounted=1";

/// Gives a kernel with the CMA heap, which lacks the patched operation, memory for it. Not where
/// costs are measured: udmabuf migrates each page of a memfd out of CMA before it pins it.
const CMA_HEAP: &str = "cma=64M";

/// Memory of the machine that tries KVM.
const PROBE_MEMORY_MIB: u64 = 256;

/// Enough, on a slow machine, too, for a kernel to look for its root file system.
const PROBE_TIME: Duration = Duration::from_secs(20);

/// Who executes the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// The processor, by KVM.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// KVM if a kernel boots with it: the device node alone proves nothing.
    pub fn best(kernel: &Kernel) -> Self {
        if File::options().read(true).write(true).open("/dev/kvm").is_ok() && kvm_boots(kernel) {
            Self::Kvm
        } else {
            Self::Tcg
        }
    }
}

/// How the machine's instructions are executed, and by how many processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Execution {
    /// Two processors, as fast as they get.
    Free(Accelerator),
    /// Two translated processors with every feature that the translator has.
    Timed,
    /// One such processor whose clock advances one nanosecond per instruction, so that processor
    /// time counts instructions and is the same in every run. Idle time passes as on this machine:
    /// if it were skipped, the kernel's timers would fire thousands of times while a disk answers,
    /// and count as work.
    Counted,
}

/// The translator runs string instructions byte by byte, and vectors slower than plain registers:
/// a processor without them copies and compares faster.
const FAST_TRANSLATED_CPU: &str = "max,-erms,-fsrm,-avx,-avx2";

impl Execution {
    fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Free(Accelerator::Kvm) => vec!["-accel", "kvm", "-cpu", "host"],
            Self::Free(Accelerator::Tcg) => {
                vec!["-accel", "tcg,thread=multi", "-cpu", FAST_TRANSLATED_CPU]
            }
            Self::Timed => vec!["-accel", "tcg,thread=multi", "-cpu", "max"],
            Self::Counted => {
                let mut arguments = vec!["-accel", "tcg,thread=single", "-cpu", "max"];
                arguments.extend(["-icount", "shift=0,sleep=on"]);
                arguments
            }
        }
    }

    /// Without ACPI a kernel finds only the first processor of each socket.
    fn processors(self, has_acpi: bool) -> &'static str {
        match self {
            Self::Free(_) | Self::Timed if has_acpi => "2",
            Self::Free(_) | Self::Timed => "2,sockets=2",
            Self::Counted => "1",
        }
    }
}

fn qemu(execution: Execution, kernel: &Kernel, memory_mib: u64) -> Command {
    let mut qemu = command("qemu-system-x86_64");
    qemu.args(execution.arguments())
        .args(["-smp", execution.processors(kernel.has_acpi())])
        .args(["-m", &format!("{memory_mib}M")])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel.image());
    qemu
}

/// Boots the kernel without a root file system; it is up when it complains about that.
fn kvm_boots(kernel: &Kernel) -> bool {
    let mut qemu = qemu(Execution::Free(Accelerator::Kvm), kernel, PROBE_MEMORY_MIB);
    qemu.args(["-append", &[KERNEL_ARGUMENTS, kernel.arguments()].join(" "), "-serial", "stdio"]);
    let mut boots = false;
    let ended = follow(qemu, Stdio::null(), PROBE_TIME, |line| {
        boots |= line.contains("Unable to mount root fs");
    });
    boots && ended.is_ok()
}

/// Where the bytes of the disk for /data are.
#[derive(Debug, Clone)]
pub enum DataDrive {
    /// In a file of this path, which QEMU reads and writes itself.
    File(PathBuf),
    /// Behind a unix socket of this path, on which an NBD server listens.
    Nbd(PathBuf),
}

impl DataDrive {
    fn options(&self) -> String {
        let cache = "cache=unsafe,discard=unmap,detect-zeroes=off";
        match self {
            Self::File(path) => {
                format!("{cache},aio=threads,file.locking=off,file={}", quoted(path))
            }
            Self::Nbd(socket) => format!(
                "{cache},file.driver=nbd,file.server.type=unix,file.server.path={}",
                quoted(socket)
            ),
        }
    }
}

/// A machine with the device's disks.
#[derive(Debug)]
pub struct Machine<'a> {
    /// How it is executed.
    pub execution: Execution,
    /// Its memory.
    pub memory_mib: u64,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// The initial RAM disk.
    pub initramfs: &'a Path,
    /// /system and /vendor.
    pub system: &'a Path,
    /// /data.
    pub data: DataDrive,
    /// The pushed files and the plan.
    pub push: PathBuf,
}

impl Machine<'_> {
    /// Runs the plan; gives each line of the report to `line`.
    pub fn run_plan(
        &self,
        console: &Path,
        messages: &Path,
        time: Duration,
        line: impl FnMut(&str),
    ) -> Result<()> {
        let mut qemu = self.qemu("");
        qemu.arg("-chardev").arg(format!("file,id=console,path={}", quoted(console)));
        qemu.args(["-serial", "chardev:console"]);
        qemu.args(["-chardev", "stdio,id=report,signal=off"]);
        qemu.args(["-device", "virtio-serial-pci"]);
        qemu.args(["-device", &format!("virtserialport,chardev=report,name={REPORT_PORT}")]);
        let errors = files::create(messages)?;
        follow(qemu, Stdio::from(errors), time, line)
    }

    /// Runs an interactive shell on this process's standard input and output.
    pub fn run_shell(&self) -> Result<()> {
        let mut qemu = self.qemu(SHELL_FLAG);
        qemu.args(["-chardev", "stdio,id=console,mux=on,signal=off"]);
        qemu.args(["-serial", "chardev:console", "-mon", "chardev=console"]);
        let status = qemu.status().context("cannot run qemu-system-x86_64")?;
        if !status.success() {
            bail!("qemu-system-x86_64: {status}");
        }
        Ok(())
    }

    fn qemu(&self, more_arguments: &str) -> Command {
        let mut qemu = qemu(self.execution, self.kernel, self.memory_mib);
        qemu.arg("-initrd").arg(self.initramfs);
        let cma = if matches!(self.execution, Execution::Free(_)) { CMA_HEAP } else { "" };
        let arguments = [KERNEL_ARGUMENTS, self.kernel.arguments(), cma, more_arguments].join(" ");
        qemu.args(["-append", arguments.trim()]);
        qemu.args(["-device", "virtio-rng-pci"]);
        let read_only = |path: &Path| format!("readonly=on,file={}", quoted(path));
        for (id, options) in [
            ("system", read_only(self.system)),
            ("data", self.data.options()),
            ("push", read_only(&self.push)),
        ] {
            qemu.arg("-drive").arg(format!("id={id},if=none,format=raw,{options}"));
            qemu.args(["-device", &format!("virtio-blk-pci,drive={id},serial={id}")]);
        }
        qemu
    }
}

/// QEMU's option parser ends a value at a comma, unless it is doubled.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Runs a machine until it powers off; gives each line of its standard output to `line`.
fn follow(
    mut qemu: Command,
    errors: Stdio,
    time: Duration,
    mut line: impl FnMut(&str),
) -> Result<()> {
    let deadline = Instant::now() + time;
    let mut child = qemu
        // Kept open: at its end QEMU would close the port for the device, too.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("cannot run qemu-system-x86_64")?;
    let stdout = child.stdout.take().context("qemu-system-x86_64 has no output")?;
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || -> std::io::Result<()> {
        let mut stdout = BufReader::new(stdout);
        let mut bytes = Vec::new();
        while stdout.read_until(b'\n', &mut bytes)? > 0 {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if sender.send(text).is_err() {
                break;
            }
            bytes.clear();
        }
        Ok(())
    });
    let timed_out = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if timed_out {
        child.kill()?;
    }
    let status = child.wait()?;
    reader.join().ok().context("the reader of the report panicked")??;
    if timed_out {
        bail!("the device was still running after {} s", time.as_secs());
    }
    if !status.success() {
        bail!("qemu-system-x86_64: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_acpi_each_processor_has_a_socket() {
        let free = Execution::Free(Accelerator::Tcg);
        assert_eq!([free.processors(true), free.processors(false)], ["2", "2,sockets=2"]);
        assert_eq!(Execution::Counted.processors(false), "1");
    }

    #[test]
    fn paths_with_commas() {
        let file = DataDrive::File("/a,b".into()).options();
        assert!(file.ends_with(",aio=threads,file.locking=off,file=/a,,b"), "{file}");
        let nbd = DataDrive::Nbd("/a,b".into()).options();
        assert!(nbd.ends_with(",file.server.type=unix,file.server.path=/a,,b"), "{nbd}");
    }
}
