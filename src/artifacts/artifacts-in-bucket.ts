import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256 as sha256Of } from '../lib/sha256.ts'
import type { Artifacts } from './artifacts.ts'
import { ArtifactsUnreachable } from './artifacts-in-log.ts'
import { type AwsCredentials, signedHeaders } from './aws-signature.ts'
import type { BucketPlace } from './bucket-place.ts'

const SHA256 = /^[0-9a-f]{64}$/
const EMPTY_SHA256 = sha256Of('')
/** How long the service may take until its answer begins, milliseconds. */
const ANSWER_MS = 10_000
/** How long an artifact is kept trying while the service is away, milliseconds. */
const PATIENCE_MS = 60_000
const RETRY_MS: PauseBoundsMs = [100, 5_000]
/** An error of S3 is an XML document with a code. */
const MAX_ERROR_BYTES = 4_096

type Deps = {
  readonly place: BucketPlace
  readonly credentials: AwsCredentials
  readonly region: string
  /** For tests. */
  readonly patienceMs?: number
}

/** Artifacts as objects of a bucket, which all servers of a log share. The name of an object is `prefix/ab/abcd…`. */
export function artifactsInBucket({
  place,
  credentials,
  region,
  patienceMs = PATIENCE_MS,
}: Deps): Artifacts {
  const urlOf = (sha256: string): URL => objectUrl(place, region, sha256)
  const send = async (method: string, sha256: string, body?: Buffer): Promise<Response> => {
    const url = urlOf(sha256)
    const bodySha256 = body === undefined ? EMPTY_SHA256 : sha256
    const scope = { region, date: new Date() }
    const headers = signedHeaders({ method, url, bodySha256 }, credentials, scope)
    return answer(url, {
      method,
      headers,
      ...(body === undefined ? {} : { body: new Uint8Array(body) }),
    })
  }

  return {
    async put(content) {
      const body = Buffer.from(content)
      const sha256 = sha256Of(body)
      const patience = AbortSignal.timeout(patienceMs)
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

function objectUrl({ bucket, prefix, endpoint }: BucketPlace, region: string, sha256: string): URL {
  const key = `${prefix}${sha256.slice(0, 2)}/${sha256}`
  // Other services than that of AWS have no host for each bucket, and names with dots fit no certificate.
  if (endpoint !== null) return new URL(`${endpoint}/${bucket}/${key}`)
  return bucket.includes('.')
    ? new URL(`https://s3.${region}.amazonaws.com/${bucket}/${key}`)
    : new URL(`https://${bucket}.s3.${region}.amazonaws.com/${key}`)
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
  const message = `The bucket of artifacts at ${new URL(url).origin} refused: ${what}.${adviceFor(code)}`
  const isFinal = status < 500 && status !== 429 && code !== 'RequestTimeout'
  return isFinal ? new Refused(message) : new ArtifactsUnreachable(message)
}

async function codeOf(response: Response): Promise<string> {
  const text = (await response.text()).slice(0, MAX_ERROR_BYTES)
  return /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? ''
}

function adviceFor(code: string): string {
  switch (code) {
    case 'AccessDenied':
      return ' The key needs s3:GetObject, s3:PutObject and s3:DeleteObject, and s3:ListBucket so that a missing object is reported as missing.'
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return ' Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.'
    case 'NoSuchBucket':
      return ' Make the bucket, or correct its name in RETRAI_ARTIFACTS.'
    case 'AuthorizationHeaderMalformed':
    case 'PermanentRedirect':
      return ' Name the region of the bucket: ?region=… in RETRAI_ARTIFACTS, or AWS_REGION.'
    case 'RequestTimeTooSkewed':
      return ' Set the clock of this machine.'
    default:
      return ''
  }
}
