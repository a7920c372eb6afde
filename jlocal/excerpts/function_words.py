"""Function words: articles, pronouns and question words, which are not marked in excerpts."""

_ENGLISH = """
a about all am an and any are as at be because been but by can could d did do does for from had has
have he her him his how i if in into is it its ll m me my no not of on or our re s she should so
some such t than that the their them then there these they this those to up us ve was we were what
when where which who whom whose why will with would you your
"""
_GERMAN = """
aber als am an auch auf aus bei bin bis da das dass dem den der des die doch du ein eine einem
einen einer es fur hat haben habe ich ihr im in ist kann man mein mit nach nicht noch nur oder sich
sie sind so uber um und uns unser von vor wann war waren warum was welche welcher welches wenn wer
werden wie wir wird wo zu zum zur
"""
_FRENCH = """
au aux avec avons c ce ces cette comment d dans de des du elle en est et etait ete il ils j je l la
le les leur lui m mais mes mon n nos notre nous on ou par pas pour pourquoi qu quand que quel quelle
quelles quels qui s sa se ses son sont sur un une vous y
"""
_SPANISH = """
al algo como con cual cuando de del donde el ella ellos en era es esta este esto fue ha han hay la
las le lo los mas mi muy no nos o para pero por porque que quien se ser si sin sobre son su sus un
una uno y ya
"""
_ITALIAN = """
agli alla alle anche che chi ci come con cosa da dal dalla dei del della delle di dove e gli i il io
la le lo ma mi ne nel nella non per perche piu quale quando quanto questo se sei si sono su sul
sulla tra un una
"""
_PORTUGUESE = """
ao aos as ate com da das do dos e ela ele em entre era essa esse esta este foi mais mas meu na nao
nas no nos o os ou para pela pelo por qual quando que quem se sem seu sua tem um uma
"""
_DUTCH = """
aan bij dat de deze die dit door een en er had heb heeft hem het hij hoe ik in is je maar met mijn
naar niet nog of om ons ook op over te tot uit van voor waar waarom wanneer was wat we welke werd
wie wij worden zijn ze
"""
_SCANDINAVIAN = """
af att av blev de den det der en er et ett fran har hur hvad hvor hvordan hvorfor i ikke inte jag
jeg kan man med nar och og om pa sig som til till vad var varfor vi
"""
_RUSSIAN = """
а без бы был была были было быть в вы где да для до его ее если есть и из или им их к как какая
какие какои когда кто ли мы на нам нас наш не него нет но о об он она они от по почему при с
так то только у что чтобы это я
"""

_LANGUAGES = tuple(
    frozenset(words.split())
    for words in (
        *(_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE),
        *(_DUTCH, _SCANDINAVIAN, _RUSSIAN),
    )
)


def function_words(words: set[str]) -> frozenset[str]:
    """Return the function words of the language in which a query has most of them.

    A single one proves a language only if it is English: German "war" is in English queries, too.

    Args:
        words: of the query, without case and accents, as those of the lists are.

    """
    best = max(_LANGUAGES, key=lambda language: len(words & language))
    return best if len(words & best) > 1 or best is _LANGUAGES[0] else _LANGUAGES[0]
