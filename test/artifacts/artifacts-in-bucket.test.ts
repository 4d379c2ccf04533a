import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { artifactsInBucket, readBucketPlace } from '../../src/artifacts/artifacts-in-bucket.ts'
import { sha256 as sha256Of } from '../../src/lib/sha256.ts'
import { ACCESS_KEY, BUCKET, S3StandIn, SECRET_KEY } from '../support/s3-stand-in.ts'

let service: S3StandIn
beforeEach(async () => {
  service = await S3StandIn.start()
})
afterEach(() => service.stop())

const CREDENTIALS = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY }

function bucket(changes: { bucket?: string; secretAccessKey?: string } = {}) {
  const { bucket: name = BUCKET, ...secret } = changes
  const text = `s3://${name}/retrai/artifacts/?endpoint=${service.endpoint}&region=eu-central-1`
  return artifactsInBucket({
    place: readBucketPlace(text)._unsafeUnwrap(),
    credentials: { ...CREDENTIALS, ...secret },
    region: 'eu-central-1',
  })
}

const OUTPUT = Buffer.from('a long output, with ü and \0'.repeat(1000))

describe('artifacts in a bucket', () => {
  test('are kept under their hash, read and removed', async () => {
    const artifacts = bucket()
    const sha256 = await artifacts.put(OUTPUT)
    expect(sha256).toBe(sha256Of(OUTPUT))
    expect([...service.objects.keys()]).toEqual([
      `retrai/artifacts/${sha256.slice(0, 2)}/${sha256}`,
    ])
    const found = await artifacts.read(sha256)
    expect(found?.bytes).toBe(OUTPUT.length)
    if (found === null) throw new Error('it was put')
    expect(await buffer(found.stream)).toEqual(OUTPUT)
    await artifacts.remove(sha256)
    expect(await artifacts.read(sha256)).toBeNull()
    await artifacts.remove(sha256)
  })

  test('that do not exist are told apart from a bucket that cannot be read', async () => {
    const sha256 = sha256Of('nothing')
    expect(await bucket().read(sha256)).toBeNull()
    await expect(bucket({ bucket: 'other-one' }).read(sha256)).rejects.toThrow(
      /NoSuchBucket.*RETRAI_ARTIFACTS/,
    )
    await expect(bucket({ secretAccessKey: 'wrong' }).read(sha256)).rejects.toThrow(
      /SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY/,
    )
    service.failures.push({ status: 403, code: 'AccessDenied' })
    await expect(bucket().read(sha256)).rejects.toThrow(/s3:ListBucket/)
    service.failures.push({ status: 503, code: 'SlowDown' })
    await expect(bucket().read(sha256)).rejects.toThrow(/SlowDown/)
    const artifacts = bucket()
    await service.stop()
    await expect(artifacts.read(sha256)).rejects.toThrow(
      /The bucket of artifacts at .* cannot be reached: /,
    )
  })

  test('are sent again while the service is busy, but not if it refuses them', async () => {
    service.failures.push({ status: 503, code: 'SlowDown' }, { status: 500, code: 'InternalError' })
    await bucket().put(OUTPUT)
    expect(service.objects.size).toBe(1)
    service.failures.push({ status: 403, code: 'AccessDenied' })
    await expect(bucket().put('another')).rejects.toThrow(/AccessDenied/)
    expect(service.objects.size).toBe(1)
  })
})

test.each([
  ['http://bucket/x', 's3://bucket/prefix'],
  ['s3://key:secret@bucket/x', 'AWS_ACCESS_KEY_ID'],
  ['s3://B/x', 'bucket'],
  ['s3://bucket/a b', 'prefix'],
  ['s3://bucket/x?color=blue', 'color'],
  ['s3://bucket/x?endpoint=ftp://host', 'endpoint'],
])('%s is refused, with advice', (text, advice) => {
  expect(readBucketPlace(text)._unsafeUnwrapErr()).toContain(advice)
})
