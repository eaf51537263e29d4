// SPDX-License-Identifier: Apache-2.0
//! Tests of the client against the embedded service over a unix socket: fds pass in both
//! directions, and errors keep their codes.

mod fixture;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use dmabuf_loader_client::aidl::{
    BufferTarget::BufferTarget, LoadPath::LoadPath, LoaderError::LoaderError, NewBuffer::NewBuffer,
    PathPolicy::PathPolicy, Segment::Segment, VerityDigest::VerityDigest,
};
use dmabuf_loader_client::{open_for_load, ClientError, LoadSpec, SaveSpec};
use vts_uapi::anonymous_fds::Kind;

use fixture::{fixture, Fixture};

impl Fixture {
    fn file(&self, bytes: &[u8]) -> File {
        let path = self.directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        open_for_load(&path).unwrap()
    }
}

#[test]
fn a_lease_on_the_file_is_not_waited_for() {
    let program = std::env::current_exe().unwrap();
    let directory = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = directory.path().join("leased");
    std::fs::write(&path, vec![7; 1 << 20]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    vts_uapi::lease::take_write_lease(&file).unwrap();
    let begin = std::time::Instant::now();
    let loaded = fixture().loader.load(LoadSpec::whole_file(&file).unwrap()).unwrap();
    assert_eq!(loaded.segmentBytes, [1 << 20]);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

fn memfd_buffer(size_bytes: i64) -> NewBuffer {
    NewBuffer { heap: "memfd".to_owned(), sizeBytes: size_bytes, name: String::new() }
}

fn read_all(fd: &binder::ParcelFileDescriptor) -> Vec<u8> {
    let owned: &OwnedFd = fd.as_ref();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(owned));
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn code(error: ClientError) -> LoaderError {
    error.code().unwrap_or_else(|| panic!("no code in {error:?}"))
}

#[test]
fn a_file_is_loaded_and_saved_through_the_socket() {
    let fixture = fixture();
    let bytes: Vec<u8> = (0..100_001_u32).map(|index| index as u8).collect();
    let file = fixture.file(&bytes);
    let spec = LoadSpec::whole_file(&file).unwrap().into_new(memfd_buffer(0));
    let loaded = fixture.loader.load(spec.report_sha256().report_verity()).unwrap();
    assert_eq!(loaded.segmentBytes, [100_001]);
    let digests = loaded.digests.unwrap();
    assert_eq!(digests.sha256.unwrap().len(), 32);
    assert!(digests.verity.is_empty());
    assert_ne!(loaded.report.path, LoadPath::COPY_FILE_RANGE);
    let buffer = loaded.buffer.unwrap().fd.unwrap();
    assert_eq!(read_all(&buffer)[..100_001], bytes);

    let copy = fixture.directory.path().join("copy");
    let target = File::create(&copy).unwrap();
    let owned: &OwnedFd = buffer.as_ref();
    let segment = Segment { lengthBytes: 100_001, ..Default::default() };
    let save = SaveSpec::from_buffer(owned).unwrap().file(&target).unwrap().segment(segment);
    assert_eq!(fixture.loader.save(save).unwrap().segmentBytes, [100_001]);
    assert_eq!(std::fs::read(copy).unwrap(), bytes);
}

#[test]
fn errors_keep_their_code_and_name_the_argument() {
    let fixture = fixture();
    let file = fixture.file(b"bytes");
    let load = |spec: LoadSpec| fixture.loader.load(spec).unwrap_err();

    let error = load(LoadSpec::default().file(&file).unwrap().file(&file).unwrap());
    assert!(error.to_string().starts_with("segments: "), "{error}");
    assert_eq!(code(error), LoaderError::BAD_ARGUMENT);

    let unknown = NewBuffer { heap: "../system".to_owned(), ..Default::default() };
    let error = load(LoadSpec::whole_file(&file).unwrap().into_new(unknown));
    assert_eq!(code(error), LoaderError::HEAP_UNKNOWN);

    let directory = File::open(fixture.directory.path()).unwrap();
    let error = load(LoadSpec::whole_file(&directory).unwrap());
    assert!(error.to_string().starts_with("files[0]: is a directory"), "{error}");
    assert_eq!(code(error), LoaderError::UNSUPPORTED_FILE);

    // A file on tmpfs, which supports no direct I/O.
    let tmpfs = dmabuf_uapi::memfd::create_sealed(c"source", 4096).unwrap();
    let mut direct = LoadSpec::whole_file(&tmpfs).unwrap().into_new(memfd_buffer(0));
    direct.request.policy = PathPolicy::REQUIRE_DIRECT;
    assert_eq!(code(load(direct)), LoaderError::DIRECT_IO_UNAVAILABLE);

    let digest = LoadSpec::whole_file(&file).unwrap().into_new(memfd_buffer(0));
    assert_eq!(code(load(digest.expect_sha256([0; 32]))), LoaderError::DIGEST_MISMATCH);

    // A memfd cannot have fs-verity.
    let verity = VerityDigest { digest: vec![0; 32], ..Default::default() };
    let error = load(LoadSpec::whole_file(&tmpfs).unwrap().expect_verity(verity));
    assert!(
        error.to_string().starts_with("digests.expectedVerity[0]: files[0] has no fs-verity"),
        "{error}"
    );
    assert_eq!(code(error), LoaderError::DIGEST_MISMATCH);
}

#[test]
fn allocation_follows_the_contract() {
    let fixture = fixture();
    let heaps = fixture.loader.heaps().unwrap();
    assert!(heaps.iter().all(|heap| heap.maxBufferBytes > 0));
    assert!(heaps.iter().any(|heap| heap.name == "memfd" && !heap.deviceShareable));
    let page_bytes = fixture.loader.capabilities().unwrap().pageBytes;
    let buffer = fixture.loader.allocate(&memfd_buffer(1)).unwrap();
    assert_eq!(buffer.sizeBytes, page_bytes);
    assert_eq!(read_all(buffer.fd.as_ref().unwrap()), vec![0; page_bytes as usize]);
    for size_bytes in [0, -1, i64::MAX] {
        let error = fixture.loader.allocate(&memfd_buffer(size_bytes)).unwrap_err();
        assert!(error.to_string().starts_with("sizeBytes: "), "{error}");
        assert_eq!(code(error), LoaderError::BAD_ARGUMENT);
    }
}

#[test]
fn a_buffer_can_be_filled_again() {
    let fixture = fixture();
    let buffer = fixture.loader.allocate(&memfd_buffer(4096)).unwrap().fd.unwrap();
    let owned: &OwnedFd = buffer.as_ref();
    let file = fixture.file(b"again");
    let spec = LoadSpec::whole_file(&file).unwrap().into_existing(owned.as_fd()).unwrap();
    assert!(matches!(spec.request.target, BufferTarget::Existing(Some(_))));
    assert!(fixture.loader.load(spec).unwrap().buffer.is_none());
    assert_eq!(&read_all(&buffer)[..6], b"again\0");
}

/// An epoll fd answers `DMA_BUF_IOCTL_SYNC` as a dma-buf does, and has the device number of other
/// anonymous files.
#[test]
fn anonymous_fds_are_refused_as_buffers() {
    let fixture = fixture();
    let file = fixture.file(b"bytes");
    let refuse = |kind: Kind| {
        let Ok(fd) = kind.open() else { return };
        let target = LoadSpec::whole_file(&file).unwrap().into_existing(&fd).unwrap();
        let output = File::create(fixture.directory.path().join("output")).unwrap();
        let save = SaveSpec::from_buffer(&fd).unwrap().file(&output).unwrap();
        for (error, argument) in [
            (fixture.loader.load(target).unwrap_err(), "target.existing: is "),
            (fixture.loader.save(save.segment(Segment::default())).unwrap_err(), "buffer: is "),
        ] {
            assert!(error.to_string().starts_with(argument), "{kind}: {error}");
            assert_eq!(code(error), LoaderError::UNSUPPORTED_FILE, "{kind}");
        }
    };
    // The unix socket refuses to pass the fd of an io_uring.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::IoUring) {
        refuse(kind);
        refuse(Kind::Epoll);
        refuse(kind);
    }
    fixture.loader.heaps().unwrap();
}
