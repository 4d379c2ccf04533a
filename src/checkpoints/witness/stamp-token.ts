import { err, ok, type Result } from 'neverthrow'
import {
  Certificate,
  ContentInfo,
  ExtKeyUsage,
  id_ContentType_SignedData,
  id_ExtKeyUsage,
  id_eContentType_TSTInfo,
  id_sha256,
  SignedData,
  TSTInfo,
} from 'pkijs'
import { messageOf } from '../../lib/message-of.ts'
import { sha256 } from '../../lib/sha256.ts'

/** Of a certificate for time stamps (RFC 3161, 2.3). */
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8'
const COMMON_NAME = '2.5.4.3'
const PEM = /-----BEGIN CERTIFICATE-----([A-Za-z\d+/=\s]+)-----END CERTIFICATE-----/g

/** A time stamp that holds. */
export type CheckedStamp = {
  /** The name of the certificate that has signed it, and the time in the token. */
  readonly name: string
  readonly at: string
  /** The certificates from that one to the one that was trusted, in PEM; and the SHA-256 of each, hex. */
  readonly chain: string
  readonly fingerprints: readonly string[]
}

/**
 * Checks a token of RFC 3161 over a text, by certificates in PEM: the self-signed ones among them, or without any the
 * last one, are trusted. All must have been valid at the time in the token. The error is a text for people.
 */
export async function checkStamp(
  text: string,
  token: Uint8Array,
  pem: string,
): Promise<Result<CheckedStamp, string>> {
  try {
    const known = certificatesIn(pem)
    const roots = known.filter(({ subject, issuer }) => subject.isEqual(issuer))
    const { contentType, content } = ContentInfo.fromBER(exactly(token))
    if (contentType !== id_ContentType_SignedData) return err('it is not signed')
    const signed = new SignedData({ schema: content })
    const { eContentType, eContent } = signed.encapContentInfo
    if (eContentType !== id_eContentType_TSTInfo || eContent === undefined)
      return err('it is signed, and not a time stamp')
    const { messageImprint, genTime } = TSTInfo.fromBER(eContent.getValue())
    const { hashAlgorithm, hashedMessage } = messageImprint
    const hash = Buffer.from(hashedMessage.valueBlock.valueHexView).toString('hex')
    if (hashAlgorithm.algorithmId !== id_sha256 || hash !== sha256(text))
      return err('it is about another text')
    // Some authorities do not send their certificates.
    signed.certificates = [...(signed.certificates ?? []), ...known]
    const { signatureVerified, signerCertificate, certificatePath } = await signed.verify({
      signer: 0,
      data: exactly(Buffer.from(text)),
      checkChain: true,
      extendedMode: true,
      trustedCerts: roots.length > 0 ? roots : known.slice(-1),
      passedWhenNotRevValues: true,
    })
    if (signatureVerified !== true || !signerCertificate) return err('its signature is not good')
    if (!mayStamp(signerCertificate))
      return err('the certificate that signed it is not one for time stamps')
    const chain = certificatePath.map((each) => Buffer.from(each.toSchema().toBER()))
    return ok({
      name: nameOf(signerCertificate),
      at: genTime.toISOString(),
      chain: chain.map(pemOf).join(''),
      fingerprints: chain.map(sha256),
    })
  } catch (cause) {
    return err(`it cannot be verified: ${messageOf(cause)}`)
  }
}

/** @throws if one cannot be read */
const certificatesIn = (pem: string): Certificate[] =>
  [...pem.matchAll(PEM)].map(([, base64 = '']) =>
    Certificate.fromBER(exactly(Buffer.from(base64, 'base64'))),
  )

const pemOf = (der: Buffer): string => {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

/** It is for nothing else, and whoever does not understand that must refuse it. */
function mayStamp({ extensions = [] }: Certificate): boolean {
  const usage = extensions.find(({ extnID }) => extnID === id_ExtKeyUsage)
  const purposes = usage?.parsedValue instanceof ExtKeyUsage ? usage.parsedValue.keyPurposes : []
  return usage?.critical === true && purposes.join() === TIME_STAMPING
}

function nameOf({ subject }: Certificate): string {
  const named = subject.typesAndValues.find(({ type }) => type === COMMON_NAME)
  return String(named?.value.valueBlock.value ?? 'an authority without a name')
}

/** The bytes in a buffer that holds nothing else. */
const exactly = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer
