/**
 * Compressed bodies. The names are Celery's, and so is what stands behind them: `gzip` and `zlib` both mean a bare zlib
 * stream, which says `application/x-gzip` all the same (`kombu/compression.py`).
 */
import * as zlib from 'node:zlib'
import { CeleriacError } from './errors.ts'

/** What bodies can be compressed with. `zstd` needs Node 22.15 or newer. */
export type Compression = 'gzip' | 'brotli' | 'zstd'

interface Compressor {
  /** What the header `compression` says. */
  readonly contentType: string
  readonly deflate: (bytes: Uint8Array) => Uint8Array
  readonly inflate: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array
}

/** As far as we use it. Node ≥ 22.15. */
interface Zstd {
  zstdCompressSync?: (bytes: Uint8Array, options: { pledgedSrcSize: number }) => Uint8Array
  zstdDecompressSync?: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array
}

const { zstdCompressSync, zstdDecompressSync } = zlib as Zstd

/** Good enough at a tenth of the time that the default takes. */
const brotliOptions = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }

const compressors: Readonly<Record<Compression, Compressor | undefined>> = {
  gzip: { contentType: 'application/x-gzip', deflate: (bytes) => zlib.deflateSync(bytes), inflate: zlib.inflateSync },
  brotli: {
    contentType: 'application/x-brotli',
    deflate: (bytes) => zlib.brotliCompressSync(bytes, brotliOptions),
    inflate: zlib.brotliDecompressSync,
  },
  zstd:
    zstdCompressSync === undefined || zstdDecompressSync === undefined
      ? undefined
      : {
          contentType: 'application/zstd',
          // Python's reader wants the frame to say how long the body is.
          deflate: (bytes) => zstdCompressSync(bytes, { pledgedSrcSize: bytes.length }),
          inflate: zstdDecompressSync,
        },
}

/** Smaller bodies gain nothing, so they go as they are. */
export const smallestCompressed = 1_024

/** A body that inflates to more is a mistake, or an attack on memory. */
export const maxInflatedBytes = 64 * 1024 * 1024

/** Celery's names that mean one of ours. */
const synonyms: Readonly<Record<string, Compression>> = { zlib: 'gzip', zstandard: 'zstd' }

/** What a wire option asks for, as far as it can be done here; else the receiver gets it as it is. */
export function compressionNamed(name: string): Compression | undefined {
  const own = synonyms[name] ?? (name as Compression)
  return compressors[own] === undefined ? undefined : own
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function checkCompression(name: string): Compression | 'none' {
  if (name === 'none' || compressors[name as Compression] !== undefined) return name as Compression | 'none'
  throw new CeleriacError(
    'CONFIG_INVALID',
    name === 'zstd'
      ? "`compression: 'zstd'` needs Node 22.15 or newer; 'brotli' is nearly as good"
      : `\`compression\` must be 'gzip', 'brotli', 'zstd' or 'none', got '${name}'`,
  )
}

/** The bytes, and what the header `compression` is to say. */
export function compress(bytes: Uint8Array, name: Compression): { body: Uint8Array; contentType: string } {
  const { deflate, contentType } = compressors[checkCompression(name) as Compression] as Compressor
  return { body: deflate(bytes), contentType }
}

/** @throws CeleriacError `PAYLOAD_INVALID` saying what its producer should change */
export function inflate(bytes: Uint8Array, contentType: string): Uint8Array {
  const compressor = Object.values(compressors).find((known) => known?.contentType === contentType)
  if (compressor === undefined) throw new CeleriacError('PAYLOAD_INVALID', unreadable(contentType))
  try {
    return compressor.inflate(bytes, { maxOutputLength: maxInflatedBytes })
  } catch (cause) {
    const isTooLong = (cause as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE'
    const what = isTooLong
      ? `it inflates to more than the ${maxInflatedBytes} bytes that are taken`
      : `it says to be compressed (${contentType}), and is not: ${(cause as Error).message}`
    throw new CeleriacError('PAYLOAD_INVALID', what, { cause })
  }
}

function unreadable(contentType: string): string {
  const advice =
    contentType === 'application/zstd'
      ? 'which needs Node 22.15 or newer; let its producer use gzip or brotli'
      : "which cannot be read here; let its producer use gzip, brotli or zstd (in Python: task_compression = 'gzip')"
  return `it is compressed (${contentType}), ${advice}`
}
