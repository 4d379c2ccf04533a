/** A message of a stream, as text. */
export type Frames = {
  /** Takes the next bytes. Returns the frames that they complete. */
  push(bytes: Uint8Array): readonly string[]
  /** What has come since the last complete frame. */
  rest(): string
}

/** The data of server-sent events: the lines of each are joined, comments and other fields are ignored. */
export function eventFrames(): Frames {
  const lines = lineFrames()
  let data: string[] = []
  return {
    push: (bytes) => {
      const frames: string[] = []
      for (const line of lines.push(bytes)) {
        const added = dataOf(line)
        if (added !== null) data.push(added)
        if (line !== '' || data.length === 0) continue
        frames.push(data.join('\n'))
        data = []
      }
      return frames
    },
    rest: () => [...data, dataOf(lines.rest()) ?? lines.rest()].join('\n'),
  }
}

const dataOf = (line: string): string | null =>
  line.startsWith('data:') ? line.slice(line[5] === ' ' ? 6 : 5) : null

/** The lines of a text, without their ends. A CRLF may be cut between two pieces. */
export function lineFrames(): Frames {
  const decoder = new TextDecoder()
  let open = ''
  return {
    push: (bytes) => {
      const text = open + decoder.decode(bytes, { stream: true })
      const lines = text.split('\n')
      open = lines.pop() ?? ''
      return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
    },
    rest: () => open,
  }
}

/** A single frame: all that comes. */
export function wholeFrame(): Frames {
  const decoder = new TextDecoder()
  let text = ''
  return {
    push: (bytes) => {
      text += decoder.decode(bytes, { stream: true })
      return []
    },
    rest: () => text,
  }
}
