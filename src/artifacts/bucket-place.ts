import { err, ok, type Result } from 'neverthrow'

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
