import { useMergedRef } from '@mantine/hooks'
import { type ReactNode, useRef } from 'react'
import Markdown from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { Block } from '../code/block.tsx'
import { isSimple, outsideAddress, visible } from '../ui/foreign-text.ts'
import { scrolledByKeyboard } from '../ui/scroll-region.tsx'
import classes from './rows.module.css'

const PLUGINS = [remarkGfm]
const COMPONENTS = { a: OutsideLink, img: NoImage, pre: Preformatted, table: Table }

/** Text of a model: as Markdown, or as plain text if Markdown would block the page. */
export function Words({ text }: { readonly text: string }) {
  const seen = visible(text)
  const isPlain = !isSimple(seen)
  return (
    <Block text={text}>
      <div className={isPlain ? `${classes.words} ${classes.plain}` : classes.words}>
        {isPlain ? (
          seen
        ) : (
          <Markdown remarkPlugins={PLUGINS} components={COMPONENTS}>
            {seen}
          </Markdown>
        )}
      </div>
    </Block>
  )
}

type TextProps = { readonly children?: ReactNode }

function Preformatted({ children }: TextProps) {
  const pre = useRef<HTMLPreElement>(null)
  const ref = useMergedRef(pre, scrolledByKeyboard)
  return (
    <Block text={() => pre.current?.textContent ?? ''} wraps={false}>
      <pre ref={ref}>{children}</pre>
    </Block>
  )
}

function Table({ children }: TextProps) {
  return <table ref={scrolledByKeyboard}>{children}</table>
}

type ImageProps = { readonly alt?: string | undefined; readonly src?: string | undefined }

/** Text of a model must not make the browser send a request. */
function NoImage({ alt = '', src = '' }: ImageProps) {
  return <em title={src}>[an image that is not fetched{alt === '' ? '' : `: ${alt}`}]</em>
}

type LinkProps = TextProps & { readonly href?: string | undefined }

/** The text of a link may be misleading, so its address is shown beside the pointer. */
function OutsideLink({ href, children }: LinkProps) {
  const address = outsideAddress(href)
  if (address === null) return children
  return (
    <a href={address} title={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  )
}
