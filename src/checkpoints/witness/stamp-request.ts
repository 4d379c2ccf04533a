import { OctetString } from 'asn1js'
import { err, ok, type Result } from 'neverthrow'
import { AlgorithmIdentifier, id_sha256, MessageImprint, TimeStampReq, TimeStampResp } from 'pkijs'
import { sha256 } from '../../lib/sha256.ts'

/** The question for a time stamp over a text, in DER. */
export function stampRequest(text: string): Uint8Array<ArrayBuffer> {
  const messageImprint = new MessageImprint({
    hashAlgorithm: new AlgorithmIdentifier({ algorithmId: id_sha256 }),
    hashedMessage: new OctetString({
      valueHex: new Uint8Array(Buffer.from(sha256(text), 'hex')).buffer,
    }),
  })
  const request = new TimeStampReq({ version: 1, messageImprint, certReq: true })
  return new Uint8Array(request.toSchema().toBER())
}

/** The token in the answer of an authority, in DER. The error is a text for people. */
export function stampInAnswer(answer: ArrayBuffer): Result<Buffer, string> {
  try {
    const { status, timeStampToken } = TimeStampResp.fromBER(answer)
    if (timeStampToken !== undefined) return ok(Buffer.from(timeStampToken.toSchema().toBER()))
    const why = status.statusStrings?.map(({ valueBlock }) => valueBlock.value).join(', ')
    return err(`It gives no time stamp: ${why || `status ${status.status}`}.`)
  } catch {
    return err('It answers with something else than a time stamp.')
  }
}
