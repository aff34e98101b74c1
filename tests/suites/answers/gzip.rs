//! Zeros, compressed.

use std::io::Write;

use flate2::{Compress, Compression, Crc, FlushCompress};

const MIB: usize = 1024 * 1024;

/// So many MiB of zeros as one member of a gzip file (RFC 1952), about 1 KiB for each. The function
/// compresses one MiB and repeats it: deflating 512 takes long without optimisation.
pub(crate) fn zeros(mebibytes: u32) -> Vec<u8> {
    let zeros = vec![0; MIB];
    let mut one = Vec::with_capacity(64 * 1024);
    let mut deflate = Compress::new(Compression::default(), false);
    // After a full flush, later data refers to nothing before it.
    deflate.compress_vec(&zeros, &mut one, FlushCompress::Full).expect("zeros deflate");
    assert_eq!(deflate.total_in(), MIB as u64, "all of it went in");
    let mut one_crc = Crc::new();
    one_crc.update(&zeros);

    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut crc = Crc::new();
    for _ in 0..mebibytes {
        file.extend_from_slice(&one);
        crc.combine(&one_crc);
    }
    // Adds an empty last block.
    file.extend([0x03, 0x00]);
    file.write_all(&crc.sum().to_le_bytes()).expect("memory");
    file.write_all(&crc.amount().to_le_bytes()).expect("memory");
    file
}
