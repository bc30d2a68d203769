"""SQLAlchemy: reflection shows logical tables, the ORM works."""

import sqlalchemy as sa
import pytest
from sqlalchemy.orm import Session, declarative_base


@pytest.fixture
def engine(cluster):
    made = sa.create_engine(cluster.url("postgresql+psycopg2"))
    yield made
    made.dispose()


@pytest.fixture
def schema(engine, make_table, connection):
    customers = make_table("id int PRIMARY KEY, name varchar(30) NOT NULL, balance numeric(10,2) DEFAULT 0", key="id",
                           prefix="sa")
    orders = make_table(f"customer_id int, id int, note text, PRIMARY KEY (customer_id, id)", key=None,
                        prefix="sa")
    connection.execute(f"SELECT create_distributed_table('{orders}', 'customer_id', colocate_with => '{customers}')")
    connection.execute(f"ALTER TABLE {orders} ADD FOREIGN KEY (customer_id) REFERENCES {customers}")
    connection.execute(f"CREATE INDEX {orders}_note ON {orders} (note)")
    return customers, orders


def test_reflection_of_columns_keys_and_indexes(engine, schema):
    customers, orders = schema
    inspector = sa.inspect(engine)
    names = inspector.get_table_names()
    assert customers in names and orders in names
    assert [n for n in names if n.startswith(customers) and n != customers] == []
    assert not [s for s in inspector.get_schema_names() if s == "decan_shard"]
    columns = {c["name"]: c for c in inspector.get_columns(customers)}
    assert isinstance(columns["name"]["type"], sa.VARCHAR) and columns["name"]["type"].length == 30
    assert not columns["name"]["nullable"] and columns["balance"]["default"] is not None
    assert inspector.get_pk_constraint(orders)["constrained_columns"] == ["customer_id", "id"]
    keys = inspector.get_foreign_keys(orders)
    assert [(k["constrained_columns"], k["referred_table"]) for k in keys] == [(["customer_id"], customers)]
    assert [i["column_names"] for i in inspector.get_indexes(orders)] == [["note"]]


def test_metadata_reflect_makes_usable_tables(engine, schema):
    customers, orders = schema
    metadata = sa.MetaData()
    metadata.reflect(engine, only=[customers, orders])
    table = metadata.tables[customers]
    with engine.begin() as session:
        session.execute(table.insert(), [{"id": n, "name": f"name {n}"} for n in range(50)])
        assert session.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 50
        assert session.execute(sa.select(table.c.name).where(table.c.id == 7)).scalar() == "name 7"
        assert session.execute(sa.select(table.c.id).order_by(table.c.id.desc()).limit(3)).scalars().all() == [49, 48, 47]
        assert session.execute(sa.update(table).where(table.c.id < 10).values(balance=5)).rowcount == 10


def test_orm_session(engine, schema):
    customers, orders = schema
    base = declarative_base()

    class Customer(base):
        __tablename__ = customers
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String)
        orders = sa.orm.relationship("Order", order_by="Order.id", back_populates="customer")

    class Order(base):
        __tablename__ = orders
        customer_id = sa.Column(sa.Integer, sa.ForeignKey(f"{customers}.id"), primary_key=True)
        id = sa.Column(sa.Integer, primary_key=True)
        note = sa.Column(sa.String)
        customer = sa.orm.relationship(Customer, back_populates="orders")

    with Session(engine) as session:
        for n in range(1, 6):
            session.add(Customer(id=n, name=f"c{n}", orders=[Order(id=m, note=f"o{m}") for m in range(1, 4)]))
        session.commit()
    with Session(engine) as session:
        found = session.get(Customer, 3)
        assert [order.note for order in found.orders] == ["o1", "o2", "o3"]
        found.name = "renamed"
        session.delete(found.orders[0])
        session.commit()
        rows = session.query(Customer.name, Order.id).join(Order).filter(Customer.id == 3).order_by(Order.id).all()
        assert [tuple(row) for row in rows] == [("renamed", 2), ("renamed", 3)]
        assert session.query(Customer).options(sa.orm.joinedload(Customer.orders)).filter(Customer.id == 1).one().orders


def test_savepoints(engine, schema):
    customers, _ = schema
    with engine.begin() as session:
        session.execute(sa.text(f"INSERT INTO {customers} VALUES (1, 'a')"))
        nested = session.begin_nested()
        with pytest.raises(sa.exc.IntegrityError):
            session.execute(sa.text(f"INSERT INTO {customers} VALUES (1, 'a')"))
        nested.rollback()
        session.execute(sa.text(f"INSERT INTO {customers} VALUES (2, 'b')"))
    with engine.connect() as session:
        assert session.execute(sa.text(f"SELECT count(*) FROM {customers}")).scalar() == 2
