import { memo, useState } from 'react'
import { Block } from '../code/block.tsx'
import codeClasses from '../code/code.module.css'
import { Line } from '../code/patch.tsx'
import { counted, formatCount } from '../ui/format.ts'
import { scrolledByKeyboard } from '../ui/scroll-region.tsx'
import classes from './changes-view.module.css'
import type { NumberedLine } from './hunk-lines.ts'

/** More lines are shown on request, and so many more each time. */
const PORTION = 1000
/** The rest of a longer line is not shown. */
const MOST_CHARS = 5000

type Props = { readonly lines: readonly NumberedLine[]; readonly language: string | null }

/** Lines of a file with their numbers, in the old and in the new file. */
export const NumberedLines = memo(function NumberedLines({ lines, language }: Props) {
  const [portions, setPortions] = useState(1)
  const shown = lines.slice(0, portions * PORTION)
  const [oldWidth, newWidth] = [widthOf(lines, 'old'), widthOf(lines, 'new')]
  const left = lines.length - shown.length
  return (
    <>
      <Block text={textOf(lines)} wraps={false}>
        <div ref={scrolledByKeyboard} className={codeClasses.patch}>
          {shown.map((line, index) =>
            line.type === 'mark' ? (
              // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name and never move
              <div key={index} className={classes.mark}>
                {line.text}
              </div>
            ) : (
              <Line
                // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other name and never move
                key={index}
                type={line.type}
                text={shortened(line.text)}
                language={language}
                numbers={`${padded(line.old, oldWidth)}${padded(line.new, newWidth)}`}
              />
            ),
          )}
        </div>
      </Block>
      {left > 0 && (
        <button
          type="button"
          className={codeClasses.more}
          onClick={() => setPortions(portions + 1)}
        >
          Show more of {counted(left, 'line')}
        </button>
      )}
    </>
  )
})

/** What is copied: the lines as they are now. */
const textOf = (lines: readonly NumberedLine[]): string =>
  lines.flatMap(({ type, text }) => (type === 'same' || type === 'added' ? text : [])).join('\n')

/** How many digits the numbers have, with a space; 0 if there are none. */
function widthOf(lines: readonly NumberedLine[], side: 'old' | 'new'): number {
  const last = lines.findLast((line) => line[side] !== null)?.[side]
  return last == null ? 0 : String(last).length + 1
}

const padded = (number: number | null, width: number): string =>
  String(number ?? '').padStart(width)

/** A line that ends differently would look the same otherwise. */
function shortened(line: string): string {
  const text = line.replace(/\r$/, '␍')
  const more = text.length - MOST_CHARS
  return more > 0 ? `${text.slice(0, MOST_CHARS)} … ${formatCount(more)} more characters` : text
}
