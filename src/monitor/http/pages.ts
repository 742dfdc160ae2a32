/**
 * The pages: files that are read once, when the monitor starts. No path of a request ever reaches the file system.
 * Files with a hash in their name never change, so browsers keep them.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Context } from 'hono'
import type { HttpEnv } from './asking.ts'

type Bytes = Uint8Array<ArrayBuffer>

interface Page {
  readonly type: string
  readonly tag: string
  readonly body: Bytes
  readonly packed: () => Packed | undefined
  readonly isForever: boolean
}

interface Packed {
  readonly br: Bytes
  readonly gzip: Bytes
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
}

/** Where the build puts them, seen from the built package and from the sources. */
const places = ['../../web/', '../../../dist/web/']
const maxBytes = 5 * 1024 * 1024
/** Of 11: the best takes half a second for what this does in a fiftieth of it. */
const brotliQuality = 6

export function pagesFolder(): string | undefined {
  return places
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find((folder) => statSync(join(folder, 'index.html'), { throwIfNoEntry: false })?.isFile())
}

export class Pages {
  readonly #files = new Map<string, Page>()

  /** @param folder undefined where the pages are not built: only the API is there then */
  constructor(folder: string | undefined) {
    if (folder === undefined) return
    for (const name of readdirSync(folder, { recursive: true }) as string[]) {
      const path = join(folder, name)
      const type = types[extname(name)]
      const stats = statSync(path)
      if (type === undefined || !stats.isFile() || stats.size > maxBytes) continue
      this.#files.set(`/${name.split(sep).join('/')}`, pageOf(readFileSync(path), type, name))
    }
  }

  /** Undefined for what is none of the pages: a path that a program asks for. */
  answer(context: Context<HttpEnv>): Response | undefined {
    const file = this.#files.get(context.req.path)
    const wantsPage = /\btext\/html\b/.test(context.req.header('accept') ?? '')
    const page = file ?? (wantsPage ? (this.#files.get('/index.html') ?? notBuilt) : undefined)
    if (page === undefined) return undefined
    const isMissingAsset = file === undefined && context.req.path.startsWith('/assets/')
    if (isMissingAsset) return undefined
    context.header('etag', page.tag)
    context.header('cache-control', page.isForever ? 'public, max-age=31536000, immutable' : 'no-cache')
    context.header('vary', 'accept-encoding, accept')
    if (context.req.header('if-none-match')?.includes(page.tag)) return context.body(null, 304)
    const accepted = context.req.header('accept-encoding') ?? ''
    const packed = page.packed()
    const packing = packed && (['br', 'gzip'] as const).find((name) => accepted.includes(name))
    if (packing !== undefined) context.header('content-encoding', packing)
    const body = packed === undefined || packing === undefined ? page.body : packed[packing]
    return context.body(body, 200, { 'content-type': page.type })
  }
}

function pageOf(body: Bytes, type: string, name: string): Page {
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"`
  const isText = /text|json|svg/.test(type) && body.length > 500
  let packed: Packed | undefined
  return {
    ...{ type, tag, body },
    isForever: /^assets[\\/].*[-.][\w-]{8,}\.\w+$/.test(name),
    // With the first request: a monitor that serves programs alone need not wait for it.
    packed: () => {
      if (isText) packed ??= packedOf(body)
      return packed
    },
  }
}

function packedOf(body: Bytes): Packed {
  const br = brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality } })
  return { br: new Uint8Array(br), gzip: new Uint8Array(gzipSync(body)) }
}

const notBuilt = pageOf(
  new TextEncoder().encode(
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Celeriac</title><p>The pages are not built; the API is at <a href="/api/v1/openapi.json">/api/v1</a>.</p></html>\n',
  ),
  'text/html; charset=utf-8',
  'index.html',
)
