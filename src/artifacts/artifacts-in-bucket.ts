import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { AwsV4Signer } from 'aws4fetch'
import { err, ok, type Result } from 'neverthrow'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256 as sha256Of } from '../lib/sha256.ts'
import type { Artifacts } from './artifacts.ts'
import { ArtifactsUnreachable } from './artifacts.ts'

/** A bucket that keeps objects over the protocol of S3. */
export type BucketPlace = {
  readonly bucket: string
  /** Begins the name of every object; empty, or ends with a slash. */
  readonly prefix: string
  /** The address of the service; null for that of AWS. */
  readonly endpoint: string | null
  /** Null if the place names none. */
  readonly region: string | null
}

/** The characters of a name that need no encoding in an address. */
const PREFIX = /^[\w.~/-]*$/

/** Reads `s3://bucket/prefix?endpoint=https://…&region=…`. The error is a text for people. */
export function readBucketPlace(text: string): Result<BucketPlace, string> {
  const url = URL.parse(text)
  if (url?.protocol !== 's3:') return err('it must be s3://bucket/prefix')
  if (url.username !== '' || url.password !== '') {
    return err('it must hold no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  }
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.host)) {
    return err('it must name a bucket, of lower-case letters, digits, dots and hyphens')
  }
  const prefix = url.pathname.replace(/^\/+|\/+$/g, '')
  if (!PREFIX.test(prefix)) return err('its prefix may have only letters, digits, and . _ ~ - /')
  const unknown = [...url.searchParams.keys()].find(
    (name) => name !== 'endpoint' && name !== 'region',
  )
  if (unknown !== undefined)
    return err(`it has the option ${unknown}; known are endpoint and region`)
  const endpoint = url.searchParams.get('endpoint')
  if (endpoint !== null && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? '')) {
    return err('its endpoint must be an http:// or https:// URL')
  }
  return ok({
    bucket: url.host,
    prefix: prefix === '' ? '' : `${prefix}/`,
    endpoint: endpoint?.replace(/\/+$/, '') ?? null,
    region: url.searchParams.get('region'),
  })
}

const SHA256 = /^[0-9a-f]{64}$/
const EMPTY_SHA256 = sha256Of('')
/** How long the service may take until its answer begins, milliseconds. */
const ANSWER_MS = 10_000
/** How long the server tries to keep an artifact while the service is away, milliseconds. */
const PATIENCE_MS = 60_000
const RETRY_MS: PauseBoundsMs = [100, 5_000]
/** An error of S3 is an XML document with a code. */
const MAX_ERROR_BYTES = 4_096

type Deps = {
  readonly place: BucketPlace
  /** Only credentials that expire have a session token. */
  readonly credentials: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string
  }
  readonly region: string
}

/** Artifacts as objects of a bucket, which all servers of a log share. The name of an object is `prefix/ab/abcd…`. */
export function artifactsInBucket({ place, credentials, region }: Deps): Artifacts {
  const send = async (method: string, sha256: string, body: Buffer | null = null) => {
    const bodySha256 = body === null ? EMPTY_SHA256 : sha256
    const signer = new AwsV4Signer({
      method,
      url: objectUrl(place, region, sha256),
      service: 's3',
      region,
      ...credentials,
      headers: { 'x-amz-content-sha256': bodySha256 },
    })
    const { url, headers } = await signer.sign()
    return answer(url, { method, headers, body: body && new Uint8Array(body) })
  }

  return {
    async put(content) {
      const body = Buffer.from(content)
      const sha256 = sha256Of(body)
      const patience = AbortSignal.timeout(PATIENCE_MS)
      const backoff = new Backoff(RETRY_MS)
      for (;;) {
        try {
          await expectOk(await send('PUT', sha256, body))
          return sha256
        } catch (cause) {
          if (cause instanceof Refused || !(await backoff.wait(patience))) throw cause
        }
      }
    },

    async read(sha256) {
      if (!SHA256.test(sha256)) return null
      const response = await send('GET', sha256)
      if (await isMissing(response)) return null
      const bytes = Number(response.headers.get('content-length'))
      const body = response.body as ReadableStream | null
      return { bytes, stream: body === null ? Readable.from([]) : Readable.fromWeb(body) }
    },

    async remove(sha256) {
      if (!SHA256.test(sha256)) return
      const response = await send('DELETE', sha256)
      if (!(await isMissing(response))) await response.body?.cancel()
    },
  }
}

/** The service has refused, and would refuse again. */
class Refused extends ArtifactsUnreachable {}

function objectUrl(
  { bucket, prefix, endpoint }: BucketPlace,
  region: string,
  sha256: string,
): string {
  const key = `${prefix}${sha256.slice(0, 2)}/${sha256}`
  // Services other than AWS's have no host for each bucket, and names with dots fit no certificate.
  if (endpoint !== null) return `${endpoint}/${bucket}/${key}`
  return bucket.includes('.')
    ? `https://s3.${region}.amazonaws.com/${bucket}/${key}`
    : `https://${bucket}.s3.${region}.amazonaws.com/${key}`
}

/** The answer, whose body may take longer. */
async function answer(url: URL, init: RequestInit): Promise<Response> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), ANSWER_MS)
  try {
    return await fetch(url, { ...init, redirect: 'manual', signal: late.signal })
  } catch (cause) {
    const why = late.signal.aborted
      ? `no answer within ${ANSWER_MS / 1000} s`
      : messageOf(cause instanceof Error ? (cause.cause ?? cause) : cause)
    throw new ArtifactsUnreachable(
      `The bucket of artifacts at ${url.origin} cannot be reached: ${why}`,
    )
  } finally {
    clearTimeout(timer)
  }
}

/** Whether there is no such object. Rejects if the service refuses for another reason. */
async function isMissing(response: Response): Promise<boolean> {
  if (response.ok) return false
  const code = await codeOf(response)
  if (response.status === 404 && code === 'NoSuchKey') return true
  throw refusal(response, code)
}

async function expectOk(response: Response): Promise<void> {
  if (!response.ok) throw refusal(response, await codeOf(response))
  await response.body?.cancel()
}

function refusal({ status, url }: Response, code: string): ArtifactsUnreachable {
  const what = code === '' ? `status ${status}` : code
  const isFinal = status < 500 && status !== 429 && code !== 'RequestTimeout'
  const message = `The bucket of artifacts at ${new URL(url).origin} refused: ${what}.`
  return isFinal ? new Refused(`${message} ${ADVICE}`) : new ArtifactsUnreachable(message)
}

const ADVICE =
  'Correct the bucket and its region in RETRAI_ARTIFACTS, and the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which needs s3:GetObject, s3:PutObject, s3:DeleteObject and, on the bucket, s3:ListBucket.'

async function codeOf(response: Response): Promise<string> {
  const text = (await response.text()).slice(0, MAX_ERROR_BYTES)
  return /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? ''
}
