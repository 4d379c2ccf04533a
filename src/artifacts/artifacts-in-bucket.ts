import { createHmac } from 'node:crypto'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { Backoff, type PauseBoundsMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/message-of.ts'
import { sha256, sha256 as sha256Of } from '../lib/sha256.ts'
import type { Artifacts } from './artifacts.ts'
import { ArtifactsUnreachable } from './artifacts-in-log.ts'
import type { BucketPlace } from './bucket-place.ts'

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
  // Services other than AWS's have no host for each bucket, and names with dots fit no certificate.
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

type AwsCredentials = {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Only credentials that expire have one. */
  readonly sessionToken?: string | undefined
}

type Request = {
  readonly method: string
  readonly url: URL
  /** Signed with the request, under lower-case names. */
  readonly headers?: Readonly<Record<string, string>>
  /** SHA-256 of the body, lower-case hex. */
  readonly bodySha256: string
}

/**
 * The headers of a request to S3, with its signature: AWS Signature Version 4 in the Authorization header
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
 */
export function signedHeaders(
  { method, url, headers = {}, bodySha256 }: Request,
  { accessKeyId, secretAccessKey, sessionToken }: AwsCredentials,
  { region, date }: { readonly region: string; readonly date: Date },
): Record<string, string> {
  const time = date.toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
  const sent: Record<string, string> = {
    ...headers,
    'x-amz-content-sha256': bodySha256,
    'x-amz-date': time,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
  }
  const signed = Object.entries({ ...sent, host: url.host }).toSorted(([a], [b]) =>
    a < b ? -1 : 1,
  )
  const names = signed.map(([name]) => name).join(';')
  const canonical = [
    method,
    url.pathname,
    canonicalQuery(url),
    ...signed.map(([name, value]) => `${name}:${value.trim()}`),
    '',
    names,
    bodySha256,
  ].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')
  const key = scope
    .split('/')
    .reduce<string | Buffer>((last, part) => hmac(last, part), `AWS4${secretAccessKey}`)
  const signature = Buffer.from(hmac(key, text)).toString('hex')
  const credential = `Credential=${accessKeyId}/${scope}`
  return {
    ...sent,
    authorization: `AWS4-HMAC-SHA256 ${credential},SignedHeaders=${names},Signature=${signature}`,
  }
}

const hmac = (key: string | Buffer, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

const canonicalQuery = ({ searchParams }: URL): string =>
  [...searchParams]
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .toSorted()
    .join('&')
