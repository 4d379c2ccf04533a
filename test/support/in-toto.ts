import { createPublicKey } from 'node:crypto'
import { bundleFromJSON } from '@sigstore/bundle'
import { toSignedEntity, Verifier } from '@sigstore/verify'
import * as z from 'zod'

/** As the specification has them: spec/v1 and spec/predicates/test-result.md of in-toto/attestation. */
const digest = z.record(z.string(), z.string().regex(/^[0-9a-f]+$/))
const Resource = z
  .strictObject({
    name: z.string().optional(),
    uri: z.url().optional(),
    digest: digest.optional(),
    content: z.base64().optional(),
    downloadLocation: z.string().optional(),
    mediaType: z.string().optional(),
    annotations: z.record(z.string(), z.json()).optional(),
  })
  .refine((it) => it.uri ?? it.digest ?? it.content)
const tests = z.array(z.string())
const Statement = z.strictObject({
  _type: z.literal('https://in-toto.io/Statement/v1'),
  subject: z.array(z.looseObject({ name: z.string(), digest })).min(1),
  predicateType: z.literal('https://in-toto.io/attestation/test-result/v0.1'),
  predicate: z.strictObject({
    result: z.enum(['PASSED', 'WARNED', 'FAILED']),
    configuration: z.array(Resource),
    url: z.string().optional(),
    passedTests: tests,
    warnedTests: tests,
    failedTests: tests,
  }),
})
const Envelope = z.strictObject({
  payloadType: z.literal('application/vnd.in-toto+json'),
  payload: z.base64(),
  signatures: z.tuple([z.strictObject({ keyid: z.string(), sig: z.base64() })]),
})

/**
 * The statement in an envelope, whose signature the verifier of Sigstore has accepted.
 * @param keys in PEM, by their ids
 */
export function statementIn(text: string, keys: Readonly<Record<string, string>>) {
  const dsseEnvelope = Envelope.parse(JSON.parse(text))
  const bundle = bundleFromJSON({
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint: dsseEnvelope.signatures[0].keyid } },
    dsseEnvelope,
  })
  const none = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] }
  const publicKey = (id: string) => {
    return { publicKey: createPublicKey(keys[id] ?? ''), validFor: () => true }
  }
  const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 }
  new Verifier({ ...none, publicKey }, thresholds).verify(toSignedEntity(bundle))
  return Statement.parse(JSON.parse(Buffer.from(dsseEnvelope.payload, 'base64').toString()))
}
