"""Stop words: articles, pronouns and question words, which say nothing about a query's subject.

The lists lack words that have a meaning in another of these languages, such as the German "die" and
"war", or the French "son" and "comment": all lists apply to queries in all languages.
"""

from __future__ import annotations

_ENGLISH = """
a about after all also am an and any are as at be because been before being between both but by
can could did do does doing during each for from had has have having he her here hers him his how
i if in into is it its just me more most my no nor not of on only or other our ours out over own
same she should so some such than that the their theirs them then there these they this those
through to too under until up us very was we were what when where which while who whom whose why
will with would you your yours
"""
_GERMAN = """
aber auf aus bei beim bin bist das dass dein dem der des dessen deren diese diesem diesen dieser
dieses ein eine einem einen einer eines er es für gibt haben hatte hatten ich ihr ihre ihrem ihren
ihrer im ist kann können mein meine mit nach nicht oder sein seine seinem seinen seiner sich sie
sind und uns unser unsere vom von wann warum welche welchem welchen welcher welches wem wen wer
werden wie wieviel wir wird wo woher wohin worden wurde wurden zu zum zur zwischen über
"""
_FRENCH = """
aux avec ce ces cette dans des du elle elles est et il ils je la le les leur leurs mais ne nous où
ou par pas pourquoi quand que quel quelle quelles quels qui quoi sa ses sont sur un une vous était
été être
"""
_SPANISH = """
al como con cuál cuáles cuándo cuánto cuánta cuántos cuántas cómo de del donde dónde el ella ellos
en era eran es esta este esto fue fueron ha han hay la las lo los mi mis muy para pero por porque
que qué quien quién quiénes se ser si sin sobre su sus también tiene una unas uno unos y
"""
_ITALIAN = """
anche ai alla alle che chi cosa cui dai dal dalla degli dei del della delle di dove e erano gli il
io la le lo ma nel nella non o per perché più quale quali quando quanti quanto quante sono stata
stato su sul sulla tra tuo un una è
"""
_PORTUGUESE = """
ao aos as às com como da das de do dos e ela ele em eram foi foram há isso mais mas na não nas nos
o os ou para pela pelo por qual quais quando quantas quanto quantos quem que se seu seus sua suas
são também um uma é
"""
_DUTCH = """
aan bij dan dat deze een en er heb hebben heeft het hij hoe hoeveel ik je mijn naar niet om ook
op te tot uit voor waar waarom wanneer wat welke werd werden wie wij wordt worden ze zijn
"""

STOP_WORDS = frozenset(
    " ".join((_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH)).split()
)
