import { describe, expect, test } from 'vitest'
import {
  eventFrames,
  type Frames,
  lineFrames,
  wholeFrame,
} from '../../../src/agent/model/framing.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

/** All frames of a text that comes in two pieces, cut at each position in turn. */
function everyCut(text: string, frames: () => Frames): Set<string> {
  const all = bytes(text)
  const results = Array.from({ length: all.length + 1 }, (_, at) => {
    const reader = frames()
    const found = [...reader.push(all.slice(0, at)), ...reader.push(all.slice(at))]
    return JSON.stringify([found, reader.rest()])
  })
  return new Set(results)
}

describe('frames are the same wherever the bytes are cut', () => {
  test('of server-sent events', () => {
    const text =
      ': wait\r\n\r\nevent: a\r\ndata: {"é":1}\r\n\r\ndata:x\ndata: y 🚀\n\nid: 7\n\ndata: open'
    expect(everyCut(text, eventFrames)).toEqual(
      new Set([JSON.stringify([['{"é":1}', 'x\ny 🚀'], 'open'])]),
    )
  })

  test('of lines', () => {
    const text = '{"ü":1}\r\n\n{"b":2}\n{"c"'
    expect(everyCut(text, lineFrames)).toEqual(
      new Set([JSON.stringify([['{"ü":1}', '', '{"b":2}'], '{"c"'])]),
    )
  })

  test('of a text that is one frame', () => {
    expect(everyCut('{\n"ö": 1}\n', wholeFrame)).toEqual(
      new Set([JSON.stringify([[], '{\n"ö": 1}\n'])]),
    )
  })
})
