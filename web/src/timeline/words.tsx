import type { ReactNode } from 'react'
import Markdown from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { isSimple, outsideAddress, visible } from '../ui/foreign-text.ts'
import { scrolledByKeyboard } from '../ui/scroll-region.tsx'
import classes from './rows.module.css'

const PLUGINS = [remarkGfm]
/** Text of a model must not make the browser send a request. */
const WITHOUT = ['img']
const COMPONENTS = { a: OutsideLink, pre: Preformatted }

/** Text of a model: as Markdown, or as plain text if Markdown would block the page. */
export function Words({ text }: { readonly text: string }) {
  const seen = visible(text)
  if (!isSimple(seen)) return <div className={`${classes.words} ${classes.plain}`}>{seen}</div>
  return (
    <div className={classes.words}>
      <Markdown remarkPlugins={PLUGINS} disallowedElements={WITHOUT} components={COMPONENTS}>
        {seen}
      </Markdown>
    </div>
  )
}

type TextProps = { readonly children?: ReactNode }

function Preformatted({ children }: TextProps) {
  return <pre ref={scrolledByKeyboard}>{children}</pre>
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
