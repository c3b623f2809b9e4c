"""What files call their columns: as a user says it, and as it seems."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import InvalidInput
from tasks.tables.column_names import ColumnNames, guessed, parsed, written
from tasks.tables.read import read_table, stream_table

OWN = ("user_id", "item_id", "rating", "timestamp")


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        # Online shops, data sets of research, and other languages.
        (
            "customer_id,sku,order_date,price,brand",
            {"user_id": "customer_id", "item_id": "sku", "timestamp": "order_date"},
        ),
        (
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
            {"user_id": "CustomerID", "item_id": "StockCode", "timestamp": "InvoiceDate"},
        ),
        (
            "userId,movieId,rating,timestamp",
            {"user_id": "userId", "item_id": "movieId"},
        ),
        (
            "reviewerID,asin,overall,unixTime",
            {"user_id": "reviewerID", "item_id": "asin", "rating": "overall", "timestamp": "unixTime"},
        ),
        ("Kunde,Artikel-Nr,Datum", {"user_id": "Kunde", "item_id": "Artikel-Nr", "timestamp": "Datum"}),
        ("e-mail;x,Product Code", {"item_id": "Product Code"}),
        # A user comes before an e-mail, whatever their order.
        ("email,user,isbn", {"user_id": "user", "item_id": "isbn"}),
        # Not every column with an id is one of these.
        ("order_id,store_id,quantity", {}),
    ],
)
def test_names_of_shops_are_recognised(header, meant):
    assert guessed(["user_id", "item_id"], header.split(","), OWN) == meant


def test_a_column_that_is_there_is_not_guessed():
    assert guessed(["item_id"], ["user_id", "customer", "sku", "timestamp", "date"], OWN) == {
        "item_id": "sku"
    }


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        (["user_id=customer,item_id=sku"], [("user_id", "customer"), ("item_id", "sku")]),
        (["user_id=customer", " item_id = sku "], [("user_id", "customer"), ("item_id", "sku")]),
        # A comma, an equals sign and blanks may be part of a name.
        (["user_id=Name, first,item_id=a=b"], [("user_id", "Name, first"), ("item_id", "a=b")]),
        (["item_id=sku,item_id=article", "item_id=sku"], [("item_id", "sku"), ("item_id", "article")]),
        ([], []),
    ],
)
def test_the_option_is_read(texts, pairs):
    assert parsed(texts) == ColumnNames(tuple(pairs))


def test_what_is_written_is_read_again():
    names = {"user_id": "Name, first", "timestamp": "ordered at"}
    assert parsed([written(names)]).pairs == tuple(names.items())


@pytest.mark.parametrize("text", ["user_id", "user_id=", "=x", "brand=x", "customer=user_id", ""])
def test_what_is_no_name_of_fedrec_is_refused(text):
    with pytest.raises(ValueError) as caught:
        parsed([text])
    assert str(caught.value) == text


def test_a_command_takes_its_own_names_alone():
    own = ("user_id", "item_id", "weight")
    assert parsed(["user_id=customer,weight=qty"], own).pairs == (("user_id", "customer"), ("weight", "qty"))
    # Not a column that is called "customer,rating=stars".
    with pytest.raises(ValueError, match=r"^rating=stars$"):
        parsed(["user_id=customer,rating=stars"], own)


@pytest.fixture(params=["csv", "tsv", "parquet"])
def shop(request, tmp_path) -> Path:
    path = tmp_path / f"shop.{request.param}"
    table = pa.table({"item_id": ["0", "1"], " Kunde ": ["u", "v"], "sku": ["a", "b"], "x": ["5", "6"]})
    if request.param == "parquet":
        pq.write_table(table.append_column("", pa.array(["", ""])), path)
    else:
        delimiter = "," if request.param == "csv" else "\t"
        rows = [["item_id", " Kunde ", "sku", "x", ""], ["0", "u", "a", "5", ""], ["1", "v", "b", "6", ""]]
        path.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    return path


def test_columns_have_the_names_that_a_user_gives_in_every_format(shop):
    names = parsed(["user_id=Kunde,item_id=sku,title=x"])
    whole = read_table(shop, ["user_id", "item_id"], names=names, own=OWN)
    # Another column that is called item_id is not the one that is meant, and a title is none of these files.
    assert whole.columns == ["user_id", "item_id", "x"]
    assert (whole.ids("user_id").tolist(), whole.ids("item_id").tolist()) == (["u", "v"], ["a", "b"])
    stream = stream_table(shop, names, OWN)
    assert stream.columns == whole.columns
    (batch,) = stream.batches(["item_id", "x", "user_id"])
    assert batch.data.to_pydict() == {"item_id": ["a", "b"], "x": ["5", "6"], "user_id": ["u", "v"]}


def test_a_missing_column_is_advised_with_the_option(shop):
    for read in (
        lambda names: read_table(shop, ["user_id", "item_id"], names=names, own=OWN),
        lambda names: stream_table(shop, names, OWN).require_columns(["user_id", "item_id"]),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(ColumnNames())
        assert caught.value.next_step == "Say which column holds it, such as --columns user_id=Kunde."
        assert caught.value.option == ("--columns", "user_id=Kunde")
        # Who cannot give names is told to rename.
        with pytest.raises(InvalidInput, match="Rename the column that holds it to 'user_id'"):
            read(None)


def test_a_column_that_nothing_is_like_is_left_to_the_user(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sku,brand\na,b\n")
    with pytest.raises(InvalidInput) as caught:
        read_table(path, ["user_id", "item_id"], names=ColumnNames(), own=OWN)
    assert "--columns user_id=COLUMN,item_id=sku" in caught.value.next_step
    assert caught.value.option is None


def test_a_column_of_another_name_is_not_advised_with_the_option(shop):
    for needed in (["quantity"], ["user_id", "quantity"]):
        with pytest.raises(InvalidInput) as caught:
            stream_table(shop, ColumnNames(), OWN).require_columns(needed)
        assert "'quantity'" in caught.value.rule
        assert "the columns are: item_id, Kunde, sku, x" in caught.value.rule
        assert "--columns" not in str(caught.value)
        assert "option" not in caught.value.facts


def test_a_name_is_of_a_column_of_a_file_that_can_have_it():
    orders, items = ("orders", ["user_id", "sku"], OWN), ("items", ["sku", "price"], ("item_id", "title"))
    parsed(["item_id=sku,title=price"]).require_found([orders, items])
    for text, of in (
        # A price of the items is no rating, and a title is none of the orders.
        ("rating=price", r"can hold rating \(orders has user_id, sku\)"),
        ("title=user_id", r"can hold title \(items has sku, price\)"),
        ("weight=sku", r"can hold weight \(none is given\)"),
    ):
        with pytest.raises(InvalidInput, match=of):
            parsed([text]).require_found([orders, items])


def test_names_must_be_clear(shop):
    with pytest.raises(InvalidInput, match=r"two columns of .* for item_id: 'sku' and 'x'"):
        read_table(shop, names=parsed(["item_id=sku,item_id=x"]), own=OWN)
    names = parsed(["item_id=sku,item_id=article,user_id=client"])
    with pytest.raises(
        InvalidInput, match=r"user_id is the column 'client', which no file has .* \(a has sku; b has x"
    ):
        names.require_found([("a", ["sku"], OWN), ("b", ["x", "article"], OWN)])
    names.require_found([("a", ["sku", "client"], OWN), ("b", ["article"], OWN)])
